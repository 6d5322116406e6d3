package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// statusLine begins the guest's last line; init writes it.
const statusLine = "guest: exit status "

// boot runs the guest until it is off. Its kernel's messages go to the file log, what the tests print to stdout.
func boot(ctx context.Context, kernel, initrd, log, pattern string, tests []string) error {
	// tsc=unstable: a guest that trusts the emulated counter hangs now and then.
	parameters := "console=ttyS0 loglevel=5 panic=-1 tsc=unstable"
	if pattern != "" {
		if strings.ContainsAny(pattern, " \"") {
			return fmt.Errorf("-run %q: no spaces or quotes, it goes over the kernel's command line", pattern)
		}
		parameters += " run=" + pattern // what the kernel doesn't know is a variable for init
	}
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-smp", "2", "-m", "768",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", parameters,
		"-serial", "file:"+log, "-serial", "stdio")
	var complaints strings.Builder
	qemu.Stderr = &complaints
	console, err := qemu.StdoutPipe()
	if err != nil {
		return err
	}
	if err := qemu.Start(); err != nil {
		return fmt.Errorf("start qemu: %w", err)
	}
	verdict := judge(console, os.Stdout, tests)
	err = qemu.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("qemu: %w: %s", err, strings.TrimSpace(complaints.String()))
	}
	return errors.Join(verdict, err)
}

// judge copies what the tests print, and says whether all of them passed.
func judge(console io.Reader, echo io.Writer, tests []string) error {
	passed := map[string]bool{}
	status := ""
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Fprintln(echo, line)
		if rest, ok := strings.CutPrefix(line, "--- PASS: "); ok {
			name, _, _ := strings.Cut(rest, " ")
			passed[name] = true
		}
		if rest, ok := strings.CutPrefix(line, statusLine); ok {
			status = rest
		}
	}
	errs := []error{lines.Err()}
	for _, name := range tests {
		if !passed[name] {
			errs = append(errs, fmt.Errorf("%s did not pass", name))
		}
	}
	switch status {
	case "0":
	case "":
		errs = append(errs, errors.New("the guest ended without telling how the tests did"))
	default:
		errs = append(errs, fmt.Errorf("the tests' exit status is %s", status))
	}
	return errors.Join(errs...)
}
