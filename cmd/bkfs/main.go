// Command bkfs is a backup you can mount. See `bkfs --help`.
package main

import (
	"os"

	"bkfs/cmd/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
