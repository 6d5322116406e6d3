package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"bkfs/cmd/daemon"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether the repository is mounted, and how it is",
		Long: `Show whether the repository is mounted, where, since when, its archives, and files
that couldn't be written, if any. This never asks for a key: of a repository that
isn't mounted it shows only what isn't encrypted.`,
		Example: "  bkfs status\n  bkfs status --json | jq -r .mounts[0].mountpoint",
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

// statusAnswer is what status --json prints.
type statusAnswer struct {
	Repository string        `json:"repository"`
	ID         string        `json:"id"`
	Format     int           `json:"format"`
	Created    time.Time     `json:"created"`
	Slots      []string      `json:"slot_types"`
	Mounts     []mountAnswer `json:"mounts"` // the writer first
	*daemon.Status
}

// mountAnswer is one mount and, if it locks by itself, when.
type mountAnswer struct {
	daemon.Hello
	Lock *daemon.LockStatus `json:"lock,omitempty"`
}

func (a *app) status(ctx context.Context) error {
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	answer := statusAnswer{
		Repository: r.path, ID: r.config.ID.String(), Format: r.config.Format, Created: r.config.Created,
		Slots: slotTypes(r), Mounts: []mountAnswer{},
	}
	clients := a.daemonsOf(r)
	for _, c := range clients {
		s := &daemon.Status{}
		if err := c.Call(ctx, daemon.Request{Op: daemon.OpStatus}, nil, s); err != nil {
			return err
		}
		answer.Mounts = append(answer.Mounts, mountAnswer{c.Hello, s.Lock})
		if s.Lock = nil; answer.Status == nil { // the lock is a mount's, the rest is the repository's
			answer.Status = s
		}
	}
	return a.term.answer(answer, func() { a.showStatus(answer) })
}

func (a *app) showStatus(s statusAnswer) {
	a.term.print("repository  %s", shown(s.Repository))
	a.term.print("id          %s, format %d, made %s", s.ID, s.Format, s.Created.Local().Format("2006-01-02"))
	a.term.print("opened by   %s", join(s.Slots))
	if len(s.Mounts) == 0 {
		a.term.print("mounted     no")
		return
	}
	for _, m := range s.Mounts {
		how := "read-write"
		if m.ReadOnly {
			how = "read-only"
		}
		a.term.print("mounted     at %s, %s, by process %d, since %s", shown(m.Mountpoint), how, m.PID, m.Since.Local().Format("2006-01-02 15:04:05"))
		a.showLock(m.Lock)
	}
	a.term.print("free        %s of %s", size(s.Available), size(s.Total))
	for _, p := range s.Problems {
		a.term.print("PROBLEM     %s", shown(p))
	}
	if len(s.Archives) == 0 {
		a.term.print("archives    none yet: make a directory in the mount")
		return
	}
	table := [][]string{{"\nARCHIVE", "SIZE", "FILES", "CHANGED", "SNAPSHOTS", "LAST"}}
	for _, r := range s.Archives {
		last := "never"
		if r.LastSnapshot != nil {
			last = humanize.Time(*r.LastSnapshot)
		}
		name, changed := shown(r.Name), humanize.Time(r.Changed)
		if r.Removed {
			name, changed = name+" (removed)", ""
		}
		table = append(table, []string{name, size(r.Bytes), humanize.Comma(int64(r.Inodes)), changed, humanize.Comma(int64(r.Snapshots)), last})
	}
	a.term.table(table)
}

// showLock says when a mount will end by itself, or what it waits for.
func (a *app) showLock(l *daemon.LockStatus) {
	if l == nil {
		return
	}
	var when []string
	if l.Token != "" {
		when = append(when, fmt.Sprintf("when the token %s is unplugged", shown(l.Token)))
	}
	if l.IdleTimeout > 0 {
		when = append(when, fmt.Sprintf("when nothing was used for %s", l.IdleTimeout))
	}
	how := ""
	if l.Force {
		how = ", also under open files"
	}
	a.term.print("locks       %s%s", strings.Join(when, " or "), how)
	if l.Removed == nil {
		return
	}
	a.term.print("LOCKING     the token was unplugged at %s; the mount is in use and waits for its users", l.Removed.Local().Format("2006-01-02 15:04:05"))
	for _, u := range l.Users {
		a.term.print("            %s (process %d) uses %s", shown(u.Name), u.PID, shown(u.Path))
	}
}
