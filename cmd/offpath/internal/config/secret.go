package config

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MinKey is the shortest key of the keyed hashes, octets.
const MinKey = 16

// maxSecret bounds what is read of a secret's file, octets.
const maxSecret = 64 << 10

// Secret says where a secret is kept: `file:PATH` or `env:NAME`. The zero
// value is none. It never holds the secret itself, so it may be printed.
type Secret struct{ ref string }

// NewSecret takes a reference; "" is none. The error does not repeat the
// text, which may be the secret, given by mistake.
func NewSecret(ref string) (Secret, error) {
	kind, rest, ok := strings.Cut(ref, ":")
	if ref != "" && (!ok || rest == "" || kind != "file" && kind != "env") {
		return Secret{}, errors.New("not a reference to a secret; write file:PATH or env:NAME, never the secret itself")
	}
	return Secret{ref}, nil
}

// String returns the reference.
func (s Secret) String() string { return s.ref }

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.ref == "" }

// Read fetches the secret, without the line end that an editor leaves.
func (s Secret) Read() ([]byte, error) {
	kind, rest, _ := strings.Cut(s.ref, ":")
	var value []byte
	if kind == "env" {
		text, ok := os.LookupEnv(rest)
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not set", rest)
		}
		value = []byte(text)
	} else {
		info, err := os.Stat(rest)
		if err != nil {
			return nil, fmt.Errorf("read secret: %w", err)
		}
		if info.Size() > maxSecret {
			return nil, fmt.Errorf("read secret: %s has %d octets, more than %d", rest, info.Size(), maxSecret)
		}
		if value, err = os.ReadFile(rest); err != nil {
			return nil, fmt.Errorf("read secret: %w", err)
		}
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	if len(value) == 0 {
		return nil, fmt.Errorf("the secret at %s is empty", s.ref)
	}
	return value, nil
}

// ReadKey fetches a key of the keyed hashes.
func (s Secret) ReadKey() ([]byte, error) {
	key, err := s.Read()
	if err != nil {
		return nil, err
	}
	if len(key) < MinKey {
		return nil, fmt.Errorf("the key at %s has %d octets; it needs %d or more", s.ref, len(key), MinKey)
	}
	return key, nil
}

// SiteKey returns the key of the keyed hashes: the one at hash.key, else the
// one kept in state.dir, which is made, with mode 0600, if there is none.
func (c *Config) SiteKey() ([]byte, error) {
	if !c.Hash.Key.IsZero() {
		key, err := c.Hash.Key.ReadKey()
		if err != nil {
			return nil, fmt.Errorf("hash.key: %w", err)
		}
		return key, nil
	}
	path := c.keyPath()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("make hash key in state.dir: %w", err)
		}
	}
	key, err := Secret{"file:" + path}.ReadKey()
	if err != nil {
		return nil, fmt.Errorf("hash key in state.dir: %w", err)
	}
	return key, nil
}

func (c *Config) keyPath() string { return filepath.Join(c.State.Dir, "hash.key") }

// makeKey writes a fresh key at path, which appears complete or not at all. If
// another process was faster, its key stays.
func makeKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	raw := make([]byte, 32)
	rand.Read(raw)                                             // never fails: it ends the program instead
	f, err := os.CreateTemp(filepath.Dir(path), ".hash.key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(raw) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
