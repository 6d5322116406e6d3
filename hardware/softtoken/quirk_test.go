package softtoken

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestQuirkNames(t *testing.T) {
	for _, k := range quirks() {
		text := k.name
		switch k.value {
		case "BYTES", "TIMES":
			text += "=33"
		case "DURATION":
			text += "=1s"
		}
		var q Quirks
		if err := q.Set(text); err != nil || q == (Quirks{}) || !q.valid() {
			t.Errorf("%s: got %+v, %v", text, q, err)
		}
		if !strings.Contains(QuirkHelp(), k.name) {
			t.Errorf("%s is not explained", k.name)
		}
		if err := q.Set("none"); err != nil || q != (Quirks{}) {
			t.Errorf("none after %s: got %+v, %v", text, q, err)
		}
	}
	for _, f := range faultNames() {
		for _, at := range append(moments(), "") {
			text := strings.TrimSuffix(string(f)+"="+string(at), "=")
			var q Quirks
			if err := q.Set(text); err != nil || q.Fault != f || q.FaultAt != at || !q.valid() {
				t.Errorf("%s: got %+v, %v", text, q, err)
			}
		}
	}
	for _, text := range []string{"", "x", "none=1", "mute=", "garbage=never", "secret-size", "secret-size=-1", "delay=soon", "omit-up=perhaps"} {
		if err := new(Quirks).Set(text); !errors.Is(err, ErrQuirk) {
			t.Errorf("%q: got %v, want ErrQuirk", text, err)
		}
	}
}

// TestSecretQuirks gives secrets that are not those of the credential.
func TestSecretQuirks(t *testing.T) {
	salt := bytes.Repeat([]byte{1}, 32)
	for _, v := range versions {
		p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{Quirks: Quirks{OptionalPIN: true}}})
		m, s := p.make(nil)
		if s != statusOK {
			t.Fatal(s)
		}
		secret := func(token []byte, quirks ...string) []byte {
			t.Helper()
			err := Behave(p.path, func(b *Behaviour) {
				b.Quirks = Quirks{}
				for _, q := range quirks {
					if err := b.Quirks.Set(q); err != nil {
						t.Error(err)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			out, s := p.secret(v, m.id, salt, token)
			if s != statusOK {
				t.Fatal(s)
			}
			return out
		}
		plain := secret(nil)
		if other := secret(nil, "other-secret"); bytes.Equal(other, plain) || !bytes.Equal(other, secret(nil, "other-secret")) {
			t.Errorf("protocol %d, other secret: got %x for %x", v, other, plain)
		}
		if a, b := secret(nil, "changing-secret"), secret(nil, "changing-secret"); bytes.Equal(a, b) {
			t.Errorf("protocol %d, changing secret: twice the same", v)
		}
		if zero := secret(nil, "zero-secret"); !bytes.Equal(zero, make([]byte, 32)) {
			t.Errorf("protocol %d, zero secret: got %x", v, zero)
		}
		for _, size := range []string{"16", "64"} {
			if got := secret(nil, "secret-size="+size); len(got) != map[string]int{"16": 16, "64": 64}[size] {
				t.Errorf("protocol %d, %s bytes: got %d", v, size, len(got))
			}
		}
		token, s := p.token(v, "1234", 0, "")
		if s != statusOK {
			t.Fatal(s)
		}
		verified := secret(token)
		if got := secret(nil, "secret-without-pin"); !bytes.Equal(got, verified) || bytes.Equal(got, plain) {
			t.Errorf("protocol %d, secret without the PIN: not the one with it", v)
		}
	}
	keys, err := kdf(2, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	q := Quirks{SecretSize: 33}
	if sealed, err := q.sealSecret(keys, make([]byte, 32)); err != nil || len(sealed) != 16+33 {
		t.Errorf("33 bytes: got %d, %v", len(sealed), err)
	}
}

// TestFaults looks at the frames that a faulty token sends, and at those that it sends before the fault's moment.
func TestFaults(t *testing.T) {
	info := &message{7, cmdCBOR, append([]byte{0, 0xa1, 1, 0x58, 100}, make([]byte, 100)...)}
	refusal := &message{7, cmdCBOR, []byte{byte(errNoCredentials)}}
	init := &message{broadcast, cmdInit, make([]byte, 17)}
	length := func(frames [][]byte) int { return int(binary.BigEndian.Uint16(frames[0][5:])) }
	for _, test := range []struct {
		fault   Fault
		healthy *message // goes through all the same
		wrong   func(frames [][]byte) bool
	}{
		{FaultMute, nil, func(f [][]byte) bool { return len(f) == 0 }},
		{FaultGarbage, nil, func(f [][]byte) bool {
			return len(f) == 2 && binary.BigEndian.Uint32(f[1]) == 7 && !bytes.Equal(f[1][5:], make([]byte, reportSize-5))
		}},
		{FaultChannel, nil, func(f [][]byte) bool { return len(f) == 2 && binary.BigEndian.Uint32(f[0]) != 7 }},
		{FaultOversized, nil, func(f [][]byte) bool { return length(f) == 0xffff }},
		{FaultFlood, nil, func(f [][]byte) bool { return len(f) == 2+8 }},
		{FaultLongCBOR, refusal, func(f [][]byte) bool { return f[0][10] == 0x5a && f[0][11] == 0xff }},
		{FaultPadded, refusal, func(f [][]byte) bool { return length(f) == len(info.payload)+reportSize }},
		{FaultTruncated, refusal, func(f [][]byte) bool { return length(f) == (len(info.payload)+1)/2 }},
		{FaultType, refusal, func(f [][]byte) bool { return length(f) == 20 && f[0][8] == 0xa9 }},
	} {
		same := func(q Quirks, m *message, touched bool) bool {
			got := q.distort(m, touched)
			return bytes.Equal(bytes.Join(got, nil), bytes.Join(m.frames(), nil))
		}
		q := Quirks{Fault: test.fault}
		if got := q.distort(info, false); !test.wrong(got) {
			t.Errorf("%s: got %x", test.fault, got)
		}
		if !same(q, init, false) {
			t.Errorf("%s: not even INIT is answered", test.fault)
		}
		if test.healthy != nil && !same(q, test.healthy, false) {
			t.Errorf("%s: a status alone is changed", test.fault)
		}
		q.FaultAt = AtTouch
		if !same(q, info, false) || same(q, info, true) {
			t.Errorf("%s: not at the touch", test.fault)
		}
	}
}

// TestStuck never answers a touch, although it was cancelled; the next client is served.
func TestStuck(t *testing.T) {
	path, s := newServer(t, Options{Behaviour: Behaviour{Quirks: Quirks{Fault: FaultKeepalive, FaultAt: AtTouch}}})
	c := dial(t, s)
	c.send(cmdCBOR, []byte{commandSelection})
	for range 3 {
		if m := c.receive(); m.command != cmdKeepalive {
			t.Fatalf("got %+v, want keepalives", m)
		}
	}
	c.send(cmdCancel, nil)
	for range 3 {
		if m := c.receive(); m.command != cmdKeepalive {
			t.Fatalf("cancelled: got %+v, want keepalives", m)
		}
	}
	if err := Behave(path, func(b *Behaviour) { b.Quirks = Quirks{} }); err != nil {
		t.Fatal(err)
	}
	next := dial(t, s)
	next.send(cmdCBOR, []byte{commandSelection})
	if m, _ := next.answer(); m.command != cmdCBOR || status(m.payload[0]) != statusOK {
		t.Errorf("the next client: got %+v", m)
	}
}

// TestUnplugged takes the device away as it begins to blink.
func TestUnplugged(t *testing.T) {
	path, s := newServer(t, Options{Behaviour: Behaviour{Button: true, Quirks: Quirks{Fault: FaultUnplug}}})
	c := dial(t, s)
	c.send(cmdCBOR, []byte{commandGetInfo})
	if m, _ := c.answer(); m.command != cmdCBOR {
		t.Fatalf("before: got %+v", m)
	}
	c.send(cmdCBOR, []byte{commandSelection})
	_ = c.f.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c.f); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("no hang-up")
	}
	<-s.Gone()
	if _, err := os.Stat(s.Device()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the device is still there: %v", err)
	}
	if st, err := Read(path); err != nil || st.Blinking {
		t.Errorf("still blinking: %+v, %v", st, err)
	}
}

// TestFlood has frames come unasked, and never so many that the token is stuck.
func TestFlood(t *testing.T) {
	_, s := newServer(t, Options{Behaviour: Behaviour{Quirks: Quirks{Fault: FaultFlood, FaultAt: AtInit}}})
	c := dial(t, s)
	for range 5 {
		c.send(cmdPing, []byte{1})
		if m := c.receive(); m.command != cmdPing {
			t.Errorf("got %+v", m)
		}
	}
	buf := make([]byte, reportSize)
	for n := 0; n < 100; n++ {
		_ = c.f.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c.f, buf); err != nil || binary.BigEndian.Uint32(buf) == c.channel {
			t.Fatalf("frame %d: got %x, %v, want one that nobody asked for", n, buf[:8], err)
		}
	}
}

func TestU2FOnly(t *testing.T) {
	path, s := newServer(t, Options{})
	c := dial(t, s)
	if err := Behave(path, func(b *Behaviour) { b.Quirks.U2FOnly = true }); err != nil {
		t.Fatal(err)
	}
	c.channel = broadcast
	c.send(cmdInit, []byte("nonce678"))
	m := c.receive()
	if m.command != cmdInit || m.payload[16] != 0x01 {
		t.Fatalf("INIT: got %+v, want capabilities without CBOR", m)
	}
	c.channel = binary.BigEndian.Uint32(m.payload[8:])
	c.send(cmdCBOR, []byte{commandGetInfo})
	if m := c.receive(); m.command != cmdError || m.payload[0] != hidInvalidCommand {
		t.Errorf("CBOR: got %+v", m)
	}
	c.send(cmdMsg, []byte{0, 3, 0, 0, 0, 0, 0})
	if m := c.receive(); m.command != cmdMsg || string(m.payload) != "U2F_V2\x90\x00" {
		t.Errorf("version: got %+v", m)
	}
}
