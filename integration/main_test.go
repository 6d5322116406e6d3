package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "bkfs/cmd/cli" // so that `go test` takes no result from its cache that is another program's
)

// program is the bkfs under test; TestMain sets it once.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	program = os.Getenv("BKFS_BINARY")
	if program == "" {
		dir, err := os.MkdirTemp("", "bkfs-program-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "bkfs")
		// Root builds it, and TestWithoutRoot runs it as somebody else.
		os.Chmod(dir, 0o755)
		build := exec.Command("go", append(append([]string{"build"}, raceFlags...), "-o", program, "bkfs/cmd/bkfs")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
			return 1
		}
	}
	os.Setenv("PATH", filepath.Dir(program)+":"+os.Getenv("PATH"))
	code := m.Run()
	for _, pid := range processes("") {
		fmt.Fprintf(os.Stderr, "FAIL: a process of the program was left behind: %d\n", pid)
		code = 1
	}
	return code
}

// processes lists the running processes of the program whose environment or command line mentions dir.
func processes(dir string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		if exe, err := os.Readlink(proc + "/exe"); err != nil || exe != program {
			continue
		}
		environ, _ := os.ReadFile(proc + "/environ")
		command, _ := os.ReadFile(proc + "/cmdline")
		if strings.Contains(string(environ)+string(command), dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mountpoints lists what is mounted at or below dir, innermost last.
func mountpoints(dir string) []string {
	info, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); f[4] == dir || strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	return points
}
