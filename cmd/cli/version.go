package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"bkfs/archive/seal"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version and its repository format",
		Example: "  bkfs version --json",
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Format   int    `json:"format"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{"(devel)", "", seal.Format, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" {
					v.Version = info.Main.Version
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Revision = s.Value
					}
				}
			}
			return a.term.answer(v, func() {
				a.term.print("bkfs %s, repository format %d, %s, %s", v.Version, v.Format, v.Go, v.Platform)
			})
		},
	}
}
