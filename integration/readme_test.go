package integration

import (
	"os"
	"strings"
	"testing"

	"bkfs/hardware/softtoken"
)

// The README's first example runs as it stands there, with a software token and another mountpoint.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	u := newUser(t)
	token := "soft:" + u.token("mine", softtoken.Options{})
	must(t, os.MkdirAll(u.path("documents/letters"), 0o755))
	must(t, os.WriteFile(u.path("documents/letters/tax.odt"), prose(1, 5000), 0o644))
	must(t, os.Mkdir(u.path("mnt"), 0o755))

	var script []string
	for line := range strings.Lines(string(readme)) {
		if command, ok := strings.CutPrefix(line, "    $ "); ok {
			script = append(script, strings.NewReplacer("/mnt/backup", u.path("mnt"), "auto", token).Replace(command))
		}
	}
	if len(script) < 7 {
		t.Fatalf("the README has %d commands", len(script))
	}
	out := u.with("BKFS_FIDO2_DEVICE="+token).do("sh", "-ec", strings.Join(script, ""))
	if want := u.path("mnt/documents/letters/.snapshots/before-cleanup/tax.odt"); !strings.Contains(out, want) {
		t.Errorf("ls doesn't show %s:\n%s", want, out)
	}
}
