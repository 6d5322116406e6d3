package hardware

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The golden frames change only together with wireVersion.
const (
	goldenRequest = "000000230004" + "a70101026673656372657403622f780481a2016462" + "6b66730242aabb" +
		"064103" + "07f5" + "09" + "26" + "31323334"
)

func TestRequestGolden(t *testing.T) {
	r := request{
		Version: 1, Op: opSecret, Device: "/x", Credentials: []reference{{"bkfs", []byte{0xaa, 0xbb}}},
		Salt: []byte{3}, PIN: []byte("1234"), Presence: true, Algorithm: algES256,
	}
	var b bytes.Buffer
	if err := writeFrame(&b, &r); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b.Bytes()); got != goldenRequest {
		t.Errorf("got  %s\nwant %s", got, goldenRequest)
	}
	var got request
	if err := readFrame(&b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Error(d)
	}
}

func TestAnswerComesBack(t *testing.T) {
	a := answer{
		Version: 1, Fault: &fault{faultCTAP, codePINInvalid, "text", 3}, Locations: []location{{"/p", "m", "n", 0x1050, 0xf407}},
		Properties: &properties{AAGUID: []byte{1}, Versions: []string{"FIDO_2_0"}, Options: map[string]bool{"uv": true}, Retries: -1},
		Verdicts:   []uint{0, 1, 2}, CredentialID: []byte{4}, AuthData: []byte{5}, Secret: bytes.Repeat([]byte{6}, secretSize),
	}
	var b bytes.Buffer
	if err := writeFrame(&b, &a); err != nil {
		t.Fatal(err)
	}
	var got answer
	if err := readFrame(&b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, got); d != "" {
		t.Error(d)
	}
}

func TestFrameRefuses(t *testing.T) {
	for name, frame := range map[string]string{
		"empty":            "",
		"short head":       "00000001",
		"body too large":   "000200010000",
		"secret too large": "000000010041a0",
		"body cut short":   "000000020000a1",
		"secret cut short": "000000010002a001",
		"not a map":        "00000001000001",
		"trailing bytes":   "000000020000a0a0",
		"duplicate key":    "000000050000a201010102",
		"unknown key":      "000000040000a1186301",
		"wrong type":       "000000030000a10161",
		"indefinite":       "000000020000bfff",
		"tag":              "000000050000a103c06161",
		"too deep":         "00000009" + "0000" + "a10481a1028181818100",
	} {
		b, err := hex.DecodeString(frame)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := readFrame(bytes.NewReader(b), &request{}); !errors.Is(err, errFrame) {
			t.Errorf("%s: got %v, want errFrame", name, err)
		}
	}
}

func TestRequestBounds(t *testing.T) {
	good := func() *request {
		return &request{
			Version: wireVersion, Op: opSecret, Device: "/x", Credentials: []reference{{"bkfs", []byte{1}}}, Salt: make([]byte, saltSize),
		}
	}
	if err := good().check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*request){
		"version":          func(r *request) { r.Version++ },
		"operation":        func(r *request) { r.Op = "format" },
		"no device":        func(r *request) { r.Device = "" },
		"long device":      func(r *request) { r.Device = strings.Repeat("x", maxDevicePath+1) },
		"empty credential": func(r *request) { r.Credentials[0].ID = nil },
		"huge credential":  func(r *request) { r.Credentials[0].ID = make([]byte, maxCredentialID+1) },
		"no party":         func(r *request) { r.Credentials[0].RPID = "" },
		"two credentials":  func(r *request) { r.Credentials = append(r.Credentials, r.Credentials[0]) },
		"no salt":          func(r *request) { r.Salt = nil },
		"PIN with NUL":     func(r *request) { r.PIN = []byte("12\x0034") },
		"long PIN":         func(r *request) { r.PIN = bytes.Repeat([]byte("1"), maxPIN+1) },
		"create nobody":    func(r *request) { r.Op, r.RPID, r.Algorithm = opCreate, "bkfs", algES256 },
	} {
		r := good()
		change(r)
		if err := r.check(); !errors.Is(err, errFrame) {
			t.Errorf("%s: got %v, want errFrame", name, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	b, _ := hex.DecodeString(goldenRequest)
	f.Add(b)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var r request
		if readFrame(bytes.NewReader(frame), &r) != nil || r.check() != nil {
			return
		}
		if len(r.PIN) > maxPIN || len(r.Credentials) > maxCredentials || r.Op != opList && r.Device == "" {
			t.Fatalf("out of bounds: %+v", r)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	var b bytes.Buffer
	_ = writeFrame(&b, &answer{Version: wireVersion, Properties: &properties{}, Verdicts: []uint{1}, Secret: []byte{1}})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, frame []byte) {
		var a answer
		r := request{Op: opInspect, Credentials: make([]reference, 1)}
		if readFrame(bytes.NewReader(frame), &a) != nil || a.check(&r) != nil {
			return
		}
		if a.Fault == nil && (a.Properties == nil || len(a.Verdicts) != 1 || a.Verdicts[0] >= uint(verdicts)) {
			t.Fatalf("out of bounds: %+v", a)
		}
	})
}

func FuzzAuthData(f *testing.F) {
	f.Add(make([]byte, authDataMin))
	f.Add(append(bytes.Repeat([]byte{0x41}, authDataMin), make([]byte, 18)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseAuthData(b)
		if err != nil && !errors.Is(err, ErrLost) {
			t.Fatal(err)
		}
		if len(d.attested) > len(b) {
			t.Fatal("more than there is")
		}
	})
}
