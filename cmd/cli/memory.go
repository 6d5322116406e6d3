package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"bkfs/archive"
	"bkfs/archive/seal"
)

// memory is what this host remembers of a repository, so that an old copy put
// in its place is noticed. It isn't secret, and losing it only loses the
// warning.
type memory struct {
	ConfigGeneration uint64 `json:"config_generation"`
	RootGeneration   uint64 `json:"root_generation"`
	RootHash         string `json:"root_hash"`
}

// maxMemory bounds what is read, in bytes.
const maxMemory = 4096

func (a *app) memoryPath(id seal.RepositoryID) string {
	return filepath.Join(a.stateDir(), "repositories", id.String()+".json")
}

// rememberConfig compares an authentic config with what is remembered, and
// remembers the newer one. Its error is a warning.
func (a *app) rememberConfig(c *archive.Config) error {
	return a.remember(c.ID, func(m *memory) string {
		if c.Generation < m.ConfigGeneration {
			return fmt.Sprintf("its key slots are of generation %d, and this host has seen %d: a removed key may be back", c.Generation, m.ConfigGeneration)
		}
		m.ConfigGeneration = c.Generation
		return ""
	})
}

// rememberRoot does the same with the newest root.
func (a *app) rememberRoot(id seal.RepositoryID, generation uint64, hash string) error {
	return a.remember(id, func(m *memory) string {
		switch {
		case generation < m.RootGeneration:
			return fmt.Sprintf("its contents are of generation %d, and this host has seen %d: newer files and snapshots are missing", generation, m.RootGeneration)
		case generation == m.RootGeneration && m.RootHash != "" && hash != m.RootHash:
			return fmt.Sprintf("its contents of generation %d aren't those this host has seen: it was restored and written to elsewhere", generation)
		}
		m.RootGeneration, m.RootHash = generation, hash
		return ""
	})
}

// memoryLock keeps threads of one process from losing each other's update;
// between processes the last one wins, which costs a warning at worst.
type memoryLock struct{ sync.Mutex }

func (a *app) remember(id seal.RepositoryID, update func(*memory) string) error {
	a.memory.Lock()
	defer a.memory.Unlock()
	path := a.memoryPath(id)
	m, err := readMemory(path)
	if err != nil {
		m = memory{} // damaged: begin again
	}
	before := m
	if complaint := update(&m); complaint != "" {
		return hint(fmt.Errorf("the repository went back in time: %s", complaint),
			"if you restored an older copy on purpose, remove %s", path)
	}
	if m == before {
		return nil
	}
	if err := writeMemory(path, m); err != nil {
		return fmt.Errorf("remember the repository's generation: %w", err)
	}
	return nil
}

func readMemory(path string) (memory, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return memory{}, nil
	}
	if err != nil {
		return memory{}, err
	}
	defer f.Close()
	buf := make([]byte, maxMemory)
	n, _ := f.Read(buf)
	var m memory
	err = json.Unmarshal(buf[:n], &m)
	return m, err
}

func writeMemory(path string, m memory) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".memory-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// rememberOpened takes the newest root from an open repository.
func (a *app) rememberOpened(id seal.RepositoryID, repo *archive.Repository) error {
	s := repo.Status()
	return a.rememberRoot(id, s.Generation, s.RootHash)
}
