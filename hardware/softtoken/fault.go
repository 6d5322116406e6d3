package softtoken

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// Fault is a way to misbehave on the wire.
type Fault string

// Moment is when a Fault happens.
type Moment string

const (
	FaultMute      Fault = "mute"
	FaultKeepalive Fault = "keepalive"
	FaultGarbage   Fault = "garbage"
	FaultChannel   Fault = "wrong-channel"
	FaultOversized Fault = "oversized"
	FaultLongCBOR  Fault = "oversized-cbor"
	FaultPadded    Fault = "padded-cbor"
	FaultTruncated Fault = "truncated-cbor"
	FaultType      Fault = "wrong-type"
	FaultUnplug    Fault = "unplug"
	FaultFlood     Fault = "flood"

	AtInit  Moment = "init"  // from the first frame on
	AtCBOR  Moment = "cbor"  // in the answers to CTAP2 commands
	AtTouch Moment = "touch" // in the answers to commands that asked for a touch
)

type faultHelp struct {
	name Fault
	what string
}

func faults() []faultHelp {
	return []faultHelp{
		{FaultMute, "never answer"},
		{FaultKeepalive, "send keepalives and never the answer"},
		{FaultGarbage, "answer with random bytes in the frames"},
		{FaultChannel, "answer on a channel that is not the client's"},
		{FaultOversized, "announce a message of 65535 bytes"},
		{FaultLongCBOR, "answer with CBOR that announces 4 GiB"},
		{FaultPadded, "send bytes after the CBOR"},
		{FaultTruncated, "cut the CBOR in half"},
		{FaultType, "answer with numbers where strings and maps belong"},
		{FaultUnplug, "be unplugged, by default when it begins to blink"},
		{FaultFlood, "send frames that nobody asked for"},
	}
}

func faultNames() []Fault {
	var out []Fault
	for _, f := range faults() {
		out = append(out, f.name)
	}
	return out
}

func moments() []Moment { return []Moment{AtInit, AtCBOR, AtTouch} }

// fault is what happens on the wire, and when.
func (q *Quirks) fault() (Fault, Moment) {
	switch {
	case q.Mute:
		return FaultMute, AtInit
	case q.FaultAt != "" || q.Fault == "":
		return q.Fault, q.FaultAt
	case q.Fault == FaultUnplug:
		return q.Fault, AtTouch
	default:
		return q.Fault, AtCBOR
	}
}

// strikes tells whether fault f happens to a message, which is of CTAP2 or not, after a touch or not.
func (q *Quirks) strikes(f Fault, cbor, touched bool) bool {
	fault, at := q.fault()
	return f == fault && (at == AtInit || cbor && (at == AtCBOR || touched))
}

// distort gives the reports that go out for m.
func (q *Quirks) distort(m *message, touched bool) [][]byte {
	fault, _ := q.fault()
	cbor := m.command == cmdCBOR || m.command == cmdKeepalive
	if fault == "" || !q.strikes(fault, cbor, touched) {
		return m.frames()
	}
	switch fault {
	case FaultMute:
		return nil
	case FaultGarbage:
		var out [][]byte
		for _, f := range m.frames() {
			out = append(out, append(f[:4:4], noise(reportSize-4)...)) // of another channel nobody would read them
		}
		return out
	case FaultChannel:
		strange := *m
		strange.channel ^= 0x5a5a5a5a
		return strange.frames()
	case FaultOversized:
		frames := (&message{m.channel, m.command, make([]byte, 4*reportSize)}).frames()
		binary.BigEndian.PutUint16(frames[0][5:], 0xffff)
		return frames
	case FaultFlood:
		return append(floodFrames(8), m.frames()...)
	}
	if m.command != cmdCBOR || len(m.payload) < 2 || m.payload[0] != byte(statusOK) {
		return m.frames()
	}
	return (&message{m.channel, m.command, q.distortCBOR(fault, m.payload)}).frames()
}

func (q *Quirks) distortCBOR(fault Fault, payload []byte) []byte {
	switch fault {
	case FaultLongCBOR: // {1: bytes(2^32-1)}
		return append([]byte{byte(statusOK), 0xa1, 1, 0x5a, 0xff, 0xff, 0xff, 0xff}, payload...)
	case FaultPadded:
		return append(slices.Clone(payload), make([]byte, reportSize)...)
	case FaultTruncated:
		return payload[:(len(payload)+1)/2]
	case FaultType: // {1: 1, 2: 2, ...}
		const pairs = 9
		out := []byte{byte(statusOK), 0xa0 | pairs}
		for i := byte(1); i <= pairs; i++ {
			out = append(out, i, i)
		}
		return out
	}
	return payload
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// floodFrames are keepalives for a channel that nobody has.
func floodFrames(n int) [][]byte {
	var out [][]byte
	for range n {
		out = append(out, (&message{0x0badf00d, cmdKeepalive, []byte{statusProcessing}}).frames()...)
	}
	return out
}

// flood fills the queue to the client by a half, when that is the quirk: never more, so that it doesn't block.
func (c *connection) flood() {
	q := c.auth.quirks.Load()
	if f, _ := q.fault(); f != FaultFlood {
		return
	}
	const half = 2 << 10 // of the pseudo-terminal's 4 KiB
	queued, err := unix.IoctlGetInt(int(c.terminal.slave.Fd()), unix.TIOCINQ)
	if err != nil || queued >= half {
		return
	}
	c.write(floodFrames((half - queued) / reportSize))
}

func (c *connection) strikes(f Fault, cbor bool) bool {
	return c.auth.quirks.Load().strikes(f, cbor, c.busy != nil && c.busy.touched.Load())
}

// unplug takes the device away under its clients: they see a hang-up.
func (c *connection) unplug() {
	c.abandon()
	c.terminal.master.Close()
}

// u2fAnswer knows one command of U2F (Raw Message Formats 1.2, section 6): the version. The others are refused.
func u2fAnswer(apdu []byte) []byte {
	const insVersion = 0x03
	if len(apdu) >= 2 && apdu[0] == 0 && apdu[1] == insVersion {
		return append([]byte("U2F_V2"), 0x90, 0x00)
	}
	return []byte{0x6d, 0x00}
}
