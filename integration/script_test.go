package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// The scripts in testdata/script are the program's behaviour as its users see it. Beside testscript's own commands:
//
//	code N COMMAND...   run a command that must exit with code N
//	token NAME [PIN]    make a software token in NAME.token
//	slot VAR LABEL      set VAR to the id of the key slot with that label
//	tree DIR            make a tree with everything a file system can hold
//	same DIR DIR        compare two trees, down to links, owners, times and attributes
//	dialog FILE CMD...  run a command on a terminal, without secrets in its environment; FILE has a line "question => answer" for each question
//	crash               kill the daemon and take the dead mount away
//
// $WORK/mnt exists, BKFS_REPOSITORY is $WORK/repo, and BKFS_FIDO2_DEVICE is none. What a script leaves mounted is
// unmounted after it.
func TestScript(t *testing.T) {
	of := func(ts *testscript.TestScript) *user { return ts.Value("user").(*user) }
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition " + cond)
		},
		Setup: func(e *testscript.Env) error {
			u := newUser(e.T().(testing.TB))
			e.Values["user"] = u
			for name, value := range u.vars {
				e.Setenv(name, value)
			}
			e.Setenv("BKFS_REPOSITORY", filepath.Join(e.WorkDir, "repo"))
			e.Defer(func() { clear(e.WorkDir, u) })
			return os.Mkdir(filepath.Join(e.WorkDir, "mnt"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if (got == want) == neg {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"token": func(ts *testscript.TestScript, neg bool, args []string) {
				o := softtoken.Options{}
				if len(args) > 1 {
					o.PIN = args[1]
				}
				ts.Check(softtoken.Create(ts.MkAbs(args[0]+".token"), o))
			},
			"slot": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Check(ts.Exec("bkfs", "key", "list", "--no-unlock", "--json"))
				var slots []struct{ ID, Label string }
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &slots))
				for _, s := range slots {
					if s.Label == args[1] {
						ts.Setenv(args[0], s.ID)
						return
					}
				}
				ts.Fatalf("no key slot is labelled %q", args[1])
			},
			"dialog": func(ts *testscript.TestScript, neg bool, args []string) {
				u := of(ts).with("BKFS_REPOSITORY=" + ts.Getenv("BKFS_REPOSITORY"))
				c := u.command(args[1], args[2:]...)
				c.Dir = ts.MkAbs(".")
				transcript, err := dialog(c, ts.ReadFile(args[0]))
				fmt.Fprint(ts.Stdout(), transcript)
				if (err != nil) != neg {
					ts.Fatalf("%v", err)
				}
			},
			"tree": func(ts *testscript.TestScript, neg bool, args []string) { oddTree(of(ts), ts.MkAbs(args[0])) },
			"same": func(ts *testscript.TestScript, neg bool, args []string) {
				u := of(ts)
				if u.same(ts.MkAbs(args[0]), ts.MkAbs(args[1])); u.Failed() {
					ts.Fatalf("%s and %s differ", args[0], args[1])
				}
			},
			"crash": func(ts *testscript.TestScript, neg bool, args []string) {
				for _, pid := range processes(of(ts).dir) {
					kill(of(ts), pid)
				}
				ts.Check(unix.Unmount(ts.MkAbs("mnt"), unix.MNT_DETACH))
			},
		},
	})
}

// clear unmounts what a script left mounted: a script may stop at any line.
func clear(dir string, u *user) {
	for _, point := range slices.Backward(mountpoints(dir)) {
		unix.Unmount(point, unix.MNT_DETACH)
	}
	for _, pid := range processes(u.dir) {
		kill(u, pid)
	}
	exec.Command("chattr", "-R", "-i", dir).Run()
}
