package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bkfs/archive"
	"bkfs/archive/store"
	"bkfs/archive/store/local"
	"bkfs/cmd/daemon"
	"bkfs/hardware"
)

// app is one run of the program: what all commands share.
type app struct {
	term    *terminal
	ask     prompter
	getenv  func(string) string
	secrets secretSources

	repositoryFlag string
	unlockDevice   string
	wait           optionalDuration // for a token to be plugged in
	unlockTimeout  time.Duration    // 0: none
	noNotify       bool
	askPassword    optionalBool
	enrolSpec      hardware.Spec // where the token to enrol is, if one is
	verbose        bool
	memory         memoryLock
	pinUsed        bool
	softWarned     bool
}

func (a *app) log() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.term.err, &slog.HandlerOptions{Level: level}))
}

func (a *app) runtimeDirs() []string { return daemon.RuntimeDirs(a.getenv) }
func (a *app) stateDir() string      { return daemon.StateDir(a.getenv) }

// cacheDir is for indexes of readers, which may be deleted at any time.
func (a *app) cacheDir() string {
	if d := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "bkfs")
	}
	return filepath.Join(a.home(), ".cache", "bkfs")
}

func (a *app) home() string {
	if h := a.getenv("HOME"); h != "" {
		return h
	}
	return "/"
}

// repositoryPath is -r, BKFS_REPOSITORY or the default, made absolute.
func (a *app) repositoryPath() (string, error) {
	path := a.repositoryFlag
	if path == "" {
		path = a.getenv("BKFS_REPOSITORY")
	}
	if path == "" {
		data := a.getenv("XDG_DATA_HOME")
		if !filepath.IsAbs(data) {
			data = filepath.Join(a.home(), ".local", "share")
		}
		path = filepath.Join(data, "bkfs", "repository")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return abs, nil
}

// repository is one that is there, still locked.
type repository struct {
	path   string
	store  store.Store
	config *archive.Config
}

func (a *app) repository(ctx context.Context) (*repository, error) {
	path, err := a.repositoryPath()
	if err != nil {
		return nil, err
	}
	return repositoryAt(ctx, path)
}

func repositoryAt(ctx context.Context, path string) (*repository, error) {
	st, err := openStore(path)
	if err != nil {
		return nil, err
	}
	config, err := archive.ReadConfig(ctx, st)
	switch {
	case errors.Is(err, archive.ErrNoRepository) && holdsData(path):
		return nil, hint(say(archive.ErrDamaged, "%s has data, but its config is lost", shown(path)), importHint)
	case errors.Is(err, archive.ErrDamaged):
		return nil, hint(fmt.Errorf("%s: %w", shown(path), err), importHint)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", shown(path), err)
	}
	return &repository{path, st, config}, nil
}

const importHint = "`bkfs key import` puts the config back from a sheet or file that `bkfs key export` made"

// holdsData tells whether a directory without a config was a repository.
func holdsData(path string) bool {
	for _, name := range []string{"packs", "roots", "journal"} {
		if fi, err := os.Stat(filepath.Join(path, name)); err == nil && fi.IsDir() {
			return true
		}
	}
	return false
}

// openStore opens a repository's directory, whatever is in it.
func openStore(path string) (*local.Store, error) {
	switch fi, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", shown(path), archive.ErrNoRepository)
	case err != nil:
		return nil, fmt.Errorf("open the repository: %w", err)
	case !fi.IsDir():
		return nil, fmt.Errorf("%s isn't a directory: %w", shown(path), archive.ErrNoRepository)
	}
	st, err := local.New(path)
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	return st, nil
}

// daemonFor finds the process that has the repository mounted for writing.
func (a *app) daemonFor(r *repository) (*daemon.Client, error) {
	return daemon.ForRepository(a.runtimeDirs(), r.config.ID, r.path)
}

// daemonsOf lists all that have the repository mounted, the writer first.
func (a *app) daemonsOf(r *repository) []*daemon.Client {
	var out []*daemon.Client
	if c, err := a.daemonFor(r); err == nil {
		out = append(out, c)
	}
	for _, c := range daemon.All(a.runtimeDirs()) {
		if c.Hello.ReadOnly && c.Hello.ID == r.config.ID && c.Hello.Repository == r.path {
			out = append(out, c)
		}
	}
	return out
}

// helper prepares another process of this program. It runs what is running
// now, even after an update has replaced the file.
func helper(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, selfPath(), args...)
	cmd.Args[0] = "bkfs"
	return cmd
}

func selfPath() string {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil {
		return running
	}
	path, err := os.Executable()
	if err != nil {
		return "bkfs"
	}
	return path
}
