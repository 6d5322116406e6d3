package softtoken

import (
	"encoding/binary"
)

// CTAPHID, clause 11.2.
const (
	reportSize   = 64
	maxMessage   = 57 + 128*59
	broadcast    = 0xffffffff
	firstPayload = reportSize - 7
	nextPayload  = reportSize - 5

	cmdPing      = 0x01
	cmdMsg       = 0x03
	cmdLock      = 0x04
	cmdInit      = 0x06
	cmdWink      = 0x08
	cmdCBOR      = 0x10
	cmdCancel    = 0x11
	cmdKeepalive = 0x3b
	cmdError     = 0x3f

	hidInvalidCommand = 0x01
	hidInvalidParam   = 0x02
	hidInvalidLength  = 0x03
	hidInvalidSeq     = 0x04
	hidTimeout        = 0x05
	hidBusy           = 0x06
	hidInvalidChannel = 0x0b
)

type message struct {
	channel uint32
	command byte
	payload []byte
}

func hidError(channel uint32, code byte) *message {
	return &message{channel, cmdError, []byte{code}}
}

// frames cuts m into reports.
func (m *message) frames() [][]byte {
	first := make([]byte, reportSize)
	binary.BigEndian.PutUint32(first, m.channel)
	first[4] = m.command | 0x80
	binary.BigEndian.PutUint16(first[5:], uint16(len(m.payload)))
	rest := m.payload[copy(first[7:], m.payload):]
	out := [][]byte{first}
	for seq := byte(0); len(rest) > 0; seq++ {
		next := make([]byte, reportSize)
		binary.BigEndian.PutUint32(next, m.channel)
		next[4] = seq
		rest = rest[copy(next[5:], rest):]
		out = append(out, next)
	}
	return out
}

// assembler puts reports together into messages, one message at a time: a token has one transaction.
type assembler struct {
	active bool
	head   message
	want   int
	seq    byte
}

// feed takes one report. It returns a whole message, or an error to send, or neither. A channel's CANCEL and INIT
// pass at any time, as does anybody's broadcast INIT; everything else from another channel meets "busy".
func (a *assembler) feed(report []byte) (whole, reply *message) {
	if len(report) != reportSize {
		return nil, nil
	}
	channel := binary.BigEndian.Uint32(report)
	if report[4]&0x80 == 0 {
		return a.feedNext(channel, report)
	}
	command, size := report[4]&0x7f, int(binary.BigEndian.Uint16(report[5:]))
	if channel == 0 || channel == broadcast && command != cmdInit {
		return nil, hidError(channel, hidInvalidChannel)
	}
	if a.active && command != cmdInit && command != cmdCancel {
		if channel != a.head.channel {
			return nil, hidError(channel, hidBusy)
		}
		a.active = false
		return nil, hidError(channel, hidInvalidSeq)
	}
	if size > maxMessage || (command == cmdInit && size != 8) || (command == cmdCancel && size != 0) {
		return nil, hidError(channel, hidInvalidLength)
	}
	if a.active && channel == a.head.channel {
		a.active = false // INIT or CANCEL ends what the channel had begun
	}
	m := message{channel, command, append([]byte(nil), report[7:7+min(size, firstPayload)]...)}
	if len(m.payload) == size {
		return &m, nil
	}
	a.active, a.head, a.want, a.seq = true, m, size, 0
	return nil, nil
}

func (a *assembler) feedNext(channel uint32, report []byte) (whole, reply *message) {
	if !a.active || channel != a.head.channel {
		return nil, nil // clause 11.2.4: spurious continuations are ignored
	}
	if report[4] != a.seq {
		a.active = false
		return nil, hidError(channel, hidInvalidSeq)
	}
	a.seq++
	n := min(a.want-len(a.head.payload), nextPayload)
	a.head.payload = append(a.head.payload, report[5:5+n]...)
	if len(a.head.payload) < a.want {
		return nil, nil
	}
	a.active = false
	m := a.head
	return &m, nil
}

// expire gives up the message being put together (clause 11.2.5.2).
func (a *assembler) expire() *message {
	if !a.active {
		return nil
	}
	a.active = false
	return hidError(a.head.channel, hidTimeout)
}
