package wiring

import (
	"errors"
	"fmt"
	"io"
	"os"

	"offpath/cmd/offpath/internal/config"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/keylog"
)

// maxKeyLog bounds the key log of a replay, octets.
const maxKeyLog = 1 << 30

// TLS says what to decrypt with: the private keys of the configuration and, once
// its lines are added, a key log; hasKeyLog says that there is one.
func TLS(c *config.Config, hasKeyLog bool) (tls.Config, error) {
	var t tls.Config
	var err error
	if len(c.TLS.Keys) > 0 {
		if t.Keys, err = ServerKeys(c.TLS.Keys); err != nil {
			return tls.Config{}, fmt.Errorf("tls.keys: %w", err)
		}
		if t.Sessions, err = tls.NewSessions(0); err != nil {
			return tls.Config{}, err
		}
	}
	if hasKeyLog {
		if t.Secrets, err = keylog.New(keylog.Config{}); err != nil {
			return tls.Config{}, err
		}
	}
	return t, nil
}

// ServerKeys reads the private keys in PEM files. An error names the file.
func ServerKeys(paths []string) (*tls.ServerKeys, error) {
	keys := new(tls.ServerKeys)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var unread *os.PathError
		if errors.As(err, &unread) {
			err = unread.Err
		}
		if err == nil {
			err = keys.Add(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return keys, nil
}

// AddKeyLog adds the key log at a path, whole as it is now.
func AddKeyLog(store *keylog.Store, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines, err := io.ReadAll(io.LimitReader(f, maxKeyLog+1))
	if err != nil {
		return err
	}
	if len(lines) > maxKeyLog {
		return fmt.Errorf("%s: more than %d octets; give the part that belongs to the capture", path, maxKeyLog)
	}
	store.Add(lines)
	if store.Stats().Secrets == 0 {
		return &os.PathError{Op: "read", Path: path, Err: errors.New("holds no secret; lines as SSLKEYLOGFILE has them are expected, such as CLIENT_RANDOM")}
	}
	return nil
}
