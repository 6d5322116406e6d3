package cli

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// notifyDeadline is how long notify-send may take; nothing waits for it.
const notifyDeadline = 5 * time.Second

// notifier shows on the desktop that a key waits for a touch: the person may look at another window, or there may be
// no terminal at all. The zero value shows nothing.
type notifier struct {
	path   string // of notify-send
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // of what runs in the background, until close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newNotifier finds notify-send and a desktop, unless --no-notify or BKFS_NOTIFY=0 forbids it.
func (a *app) newNotifier() *notifier {
	if a.noNotify || off(a.getenv("BKFS_NOTIFY")) || !a.hasDesktop() {
		return &notifier{}
	}
	path, err := exec.LookPath("notify-send")
	if err != nil {
		return &notifier{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &notifier{path: path, log: a.log(), ctx: ctx, cancel: cancel}
}

// off tells whether a variable turns something off.
func off(value string) bool {
	b, err := parseYes(value)
	return err == nil && !b
}

// hasDesktop looks for what notify-send needs: a session bus, or a display that leads to one.
func (a *app) hasDesktop() bool {
	for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "DISPLAY"} {
		if a.getenv(name) != "" {
			return true
		}
	}
	dir := a.getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "bus"))
	return err == nil
}

// show never blocks and never fails.
func (n *notifier) show(text string) {
	if n.path == "" {
		return
	}
	n.wg.Go(func() {
		ctx, cancel := context.WithTimeout(n.ctx, notifyDeadline)
		defer cancel()
		// A notification's body may hold markup.
		text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
		cmd := exec.CommandContext(ctx, n.path, "-a", "bkfs", "-i", "dialog-password", "-t", "30000", "--", "bkfs", text)
		cmd.WaitDelay = time.Second / 10
		if err := cmd.Run(); err != nil && n.ctx.Err() == nil {
			n.log.Debug("notify-send", "error", err)
		}
	})
}

// close ends what still runs: the touch is over.
func (n *notifier) close() {
	if n.path != "" {
		n.cancel()
		n.wg.Wait()
	}
}
