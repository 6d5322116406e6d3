package daemon

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bkfs/archive/seal"
	"bkfs/fs"
)

func TestJob(t *testing.T) {
	job := Job{Repository: "/r", Slot: "s", Mount: Mount{
		Mountpoint: "/m", SnapshotOnUnmount: true, SnapshotWhenQuiet: time.Minute,
		Options: fs.Options{Archive: "a", ReadOnly: true, Extra: []string{"noexec"}},
	}}
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	var buf bytes.Buffer
	if err := sendJob(&buf, job, key); err != nil {
		t.Fatal(err)
	}
	got, gotKey, err := readJob(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer gotKey.Destroy()
	if d := cmp.Diff(job, got); d != "" {
		t.Errorf("job (-want +got):\n%s", d)
	}
	if !gotKey.Equal(key) {
		t.Error("the key changed on its way")
	}
}

func TestReadJobRefuses(t *testing.T) {
	key := strings.Repeat("k", seal.KeySize)
	frame := func(body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
	}
	for class, in := range map[string]string{
		"empty":         "",
		"length only":   "\x00\x00\x00\x02",
		"huge length":   "\xff\xff\xff\xff",
		"no key":        frame("{}"),
		"short key":     frame("{}") + key[1:],
		"not JSON":      frame("nonsense") + key,
		"unknown field": frame(`{"shell":"x"}`) + key,
	} {
		if _, k, err := readJob(strings.NewReader(in)); err == nil {
			k.Destroy()
			t.Errorf("%s: got no error", class)
		}
	}
}

func FuzzReadJob(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}" + strings.Repeat("k", seal.KeySize)))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, key, err := readJob(bytes.NewReader(in))
		if (key == nil) != (err != nil) {
			t.Errorf("got key %v and error %v", key, err)
		}
		key.Destroy()
	})
}
