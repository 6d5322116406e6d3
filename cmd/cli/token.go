package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"bkfs/hardware"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Show and test the FIDO2 tokens that are plugged in",
		Long: `A token is a FIDO2 security key. bkfs needs its hmac-secret extension, which
nearly all of them have. Enrol one with ` + "`bkfs init`" + ` or ` + "`bkfs key add`" + `.`,
	}
	cmd.AddCommand(a.tokenListCommand(), a.tokenTestCommand())
	return cmd
}

func (a *app) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List tokens and what they can do; no touch, no PIN",
		Long: `List the tokens that are plugged in, or those that --unlock-fido2-device or
BKFS_FIDO2_DEVICE name. Nothing on them changes, and nobody has to touch them.`,
		Example: "  bkfs token list\n  bkfs token list --unlock-fido2-device soft:/tmp/token",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := a.unlockSpec()
			if err != nil {
				return err
			}
			tokens := a.tokens(spec, nil, "")
			defer tokens.Close()
			list, err := tokens.List(cmd.Context())
			if err != nil && len(list) == 0 {
				return fmt.Errorf("list tokens: %w", err)
			}
			if err != nil {
				a.term.warning(err)
			}
			if list == nil {
				list = []hardware.Info{}
			}
			return a.term.answer(list, func() { a.showTokens(list) })
		},
	}
}

func (a *app) showTokens(list []hardware.Info) {
	if len(list) == 0 {
		a.term.notice("No token is plugged in.")
		return
	}
	table := [][]string{{"DEVICE", "PRODUCT", "HMAC-SECRET", "PIN", "TRIES", "VERIFIES USER", "FIRMWARE", "MODEL"}}
	for _, t := range list {
		if t.Error != "" {
			table = append(table, []string{t.Device, name(t.Product), "can't be asked: " + t.Error})
			continue
		}
		tries, firmware, verifies := "", t.Firmware, yes(t.UV)
		if t.AlwaysUV {
			verifies = "always"
		}
		if t.PINRetries >= 0 {
			tries = strconv.Itoa(t.PINRetries)
		}
		table = append(table, []string{t.Device, name(t.Product), yes(t.HMACSecret), yes(t.PIN), tries, verifies, firmware, t.AAGUID.String()})
	}
	a.term.table(table)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// name is shown, but empty for a device that doesn't say.
func name(product string) string {
	if product == "" {
		return ""
	}
	return shown(product)
}
