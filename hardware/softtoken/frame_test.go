package softtoken

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// report pads hex to a report.
func report(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil || len(b) > reportSize {
		t.Fatalf("%q: %v", text, err)
	}
	return append(b, make([]byte, reportSize-len(b))...)
}

func TestFramesRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, firstPayload, firstPayload + 1, firstPayload + nextPayload, 1000, maxMessage} {
		m := &message{7, cmdPing, bytes.Repeat([]byte{0xa5}, n)}
		var a assembler
		var got *message
		for i, f := range m.frames() {
			if len(f) != reportSize || got != nil {
				t.Fatalf("%d bytes: frame %d is wrong", n, i)
			}
			whole, reply := a.feed(f)
			if reply != nil {
				t.Fatalf("%d bytes: frame %d: %+v", n, i, reply)
			}
			got = whole
		}
		if got == nil || got.channel != 7 || got.command != cmdPing || !bytes.Equal(got.payload, m.payload) {
			t.Errorf("%d bytes: got %+v", n, got)
		}
	}
}

func TestAssemblerGolden(t *testing.T) {
	type step struct {
		report string
		whole  string // channel, command, payload length
		reply  byte   // error code
	}
	const begin = "00000001 81 0050" // PING of 80 bytes on channel 1
	for name, steps := range map[string][]step{
		"INIT on broadcast":          {{report: "ffffffff 86 0008 0102030405060708", whole: "ok"}},
		"CBOR on broadcast":          {{report: "ffffffff 90 0001 04", reply: hidInvalidChannel}},
		"channel 0":                  {{report: "00000000 90 0001 04", reply: hidInvalidChannel}},
		"too long":                   {{report: "00000001 90 1dba", reply: hidInvalidLength}},
		"INIT of 7":                  {{report: "00000001 86 0007", reply: hidInvalidLength}},
		"continuation of nothing":    {{report: "00000001 00"}},
		"continuation from another":  {{report: begin}, {report: "00000002 00"}, {report: "00000001 00", whole: "ok"}},
		"busy with another":          {{report: begin}, {report: "00000002 90 0001 04", reply: hidBusy}, {report: "00000001 00", whole: "ok"}},
		"wrong sequence":             {{report: begin}, {report: "00000001 01", reply: hidInvalidSeq}, {report: "00000001 00"}},
		"message in a message":       {{report: begin}, {report: "00000001 90 0001 04", reply: hidInvalidSeq}, {report: "00000001 00"}},
		"INIT begins anew":           {{report: begin}, {report: "00000001 86 0008", whole: "ok"}, {report: "00000001 00"}},
		"broadcast INIT in between":  {{report: begin}, {report: "ffffffff 86 0008", whole: "ok"}, {report: "00000001 00", whole: "ok"}},
		"CANCEL of a half message":   {{report: begin}, {report: "00000001 91 0000", whole: "ok"}, {report: "00000001 00"}},
		"CANCEL with a payload":      {{report: "00000001 91 0001", reply: hidInvalidLength}},
		"half a message, then whole": {{report: begin}, {report: "00000001 00", whole: "ok"}, {report: "00000001 81 0001", whole: "ok"}},
	} {
		var a assembler
		for i, s := range steps {
			whole, reply := a.feed(report(t, s.report))
			var code byte
			if reply != nil {
				code = reply.payload[0]
			}
			if d := cmp.Diff([]any{s.whole != "", s.reply}, []any{whole != nil, code}); d != "" {
				t.Errorf("%s, report %d: %s", name, i, d)
			}
		}
	}
}

func TestAssemblerExpires(t *testing.T) {
	var a assembler
	if a.expire() != nil {
		t.Error("nothing expired")
	}
	a.feed(report(t, "00000009 81 0050"))
	if m := a.expire(); m == nil || m.channel != 9 || m.payload[0] != hidTimeout {
		t.Errorf("got %+v, want a timeout on channel 9", m)
	}
	if a.expire() != nil {
		t.Error("expired twice")
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xff, 0xff, 0xff, 0xff, 0x86, 0, 8}, 20))
	f.Add(append(report(&testing.T{}, "00000001 81 0050"), report(&testing.T{}, "00000001 00")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a assembler
		for ; len(b) >= reportSize; b = b[reportSize:] {
			whole, reply := a.feed(b[:reportSize])
			if whole != nil && reply != nil {
				t.Fatal("a message and an error")
			}
			if whole != nil && len(whole.payload) > maxMessage || len(a.head.payload) > maxMessage {
				t.Fatal("a message out of bounds")
			}
		}
	})
}
