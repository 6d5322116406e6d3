package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bkfs/keyring"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add, change, remove, export and import what opens the repository",
		Long: `A repository has key slots. Any one of them opens it: a token (fido2), a
passphrase, a recovery key, or a token and a passphrase together.

Changing them unlocks the repository first, also when it is mounted. Removing a
slot doesn't undo what its holder may have read or copied before.`,
	}
	cmd.AddCommand(a.keyListCommand(), a.keyAddCommand(), a.keyRemoveCommand(), a.keyChangeCommand(),
		a.keyExportCommand(), a.keyImportCommand())
	return cmd
}

// slotRow is a row of key list.
type slotRow struct {
	ID      string         `json:"id"`
	Type    keyring.Type   `json:"type"`
	Label   string         `json:"label,omitempty"`
	Created *time.Time     `json:"created,omitempty"`
	InUse   *bool          `json:"in_use,omitempty"` // absent when it isn't known
	FIDO2   *keyring.FIDO2 `json:"fido2,omitempty"`
	Problem string         `json:"problem,omitempty"`
}

func (a *app) keyListCommand() *cobra.Command {
	var noUnlock bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the key slots; * marks the one in use",
		Long: `List the key slots. The repository is unlocked for it, so that the list is known
to be authentic, and the slot that unlocked it is marked with *.

--no-unlock is for when you can't unlock, or don't want to: anybody who can write
to the repository's directory may have changed what it shows.`,
		Example: "  bkfs key list\n  bkfs key list --no-unlock --json",
		Args:    arguments(0, 0, "[--no-unlock]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.repository(cmd.Context())
			if err != nil {
				return err
			}
			ring, err := keyring.Parse(r.config.Slots)
			if err != nil {
				return fmt.Errorf("read the key slots: %w", err)
			}
			inUse := ""
			if !noUnlock {
				u, err := a.unlock(cmd.Context(), r)
				if err != nil {
					return hint(err, "`bkfs key list --no-unlock` lists the slots all the same")
				}
				u.key.Destroy()
				ring, inUse = u.ring, u.slot // what is known to be authentic
			}
			return a.showSlots(ring, inUse)
		},
	}
	cmd.Flags().BoolVar(&noUnlock, "no-unlock", false, "list without unlocking; nothing is marked, and nothing is proved")
	return cmd
}

func (a *app) showSlots(ring keyring.Ring, inUse string) error {
	list := []slotRow{}
	table := [][]string{{"", "SLOT", "TYPE", "LABEL", "CREATED", "ASKS FOR"}}
	for _, e := range ring.Entries() {
		row := slotRow{ID: e.ID, Type: e.Type, Label: e.Label}
		mark, created, asks := "", "", ""
		if inUse != "" {
			used := e.ID == inUse
			row.InUse = &used
			if used {
				mark = "*"
			}
		}
		if e.Slot != nil {
			row.Created, row.FIDO2 = &e.Slot.Created, e.Slot.FIDO2
			created = e.Slot.Created.Local().Format("2006-01-02 15:04")
			asks = asksFor(*e.Slot)
		}
		if e.Err != nil {
			row.Problem = e.Err.Error()
			asks = "can't be used: " + row.Problem
		}
		list = append(list, row)
		label := ""
		if e.Label != "" {
			label = shown(e.Label)
		}
		table = append(table, []string{mark, e.ID, string(e.Type), label, created, asks})
	}
	return a.term.answer(list, func() { a.term.table(table) })
}

func asksFor(s keyring.Slot) string {
	var needs []string
	if f := s.FIDO2; f != nil {
		needs = append(needs, "token")
		if f.PIN {
			needs = append(needs, "PIN")
		}
		if f.UserPresence {
			needs = append(needs, "touch")
		}
		if f.UserVerification {
			needs = append(needs, "user verification")
		}
	}
	switch {
	case s.Type.Passphrase():
		needs = append(needs, "passphrase")
	case s.Type == keyring.TypeRecovery:
		needs = append(needs, "recovery key")
	}
	return join(needs)
}

func (a *app) keyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove SLOT",
		Short: "Remove a key slot; the last one stays",
		Long: `Remove a key slot, named as ` + "`bkfs key list`" + ` shows it. Its key no longer opens
the repository. What its holder has read or copied before, copies of the config
that ` + "`bkfs key export`" + ` made included, isn't undone by it.`,
		Example: "  bkfs key remove 1f0c9ab23de45678",
		Args:    arguments(1, 1, "SLOT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := a.repository(ctx)
			if err != nil {
				return err
			}
			u, err := a.unlock(ctx, r)
			if err != nil {
				return err
			}
			defer u.key.Destroy()
			_, err = a.changeSlots(ctx, r, u, func(ring keyring.Ring) (keyring.Ring, error) { return ring.Remove(args[0]) })
			switch {
			case errors.Is(err, keyring.ErrNoSuchSlot):
				return hint(err, "`bkfs key list` shows them")
			case errors.Is(err, keyring.ErrLastSlot):
				return hint(err, "`bkfs key add` another one first, or nobody could open the repository again")
			case err != nil:
				return err
			}
			return a.term.answer(struct {
				Removed string `json:"removed"`
			}{args[0]}, func() {
				a.term.notice("Key slot %s is removed.", args[0])
				if args[0] == u.slot {
					a.term.notice("It was the one that unlocked just now.")
				}
			})
		},
	}
}
