package nginxfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Names in the folder. The printed configuration includes the first alone.
const (
	listName    = "verdicts.conf"
	pendingName = "pending" // a folder: the next list, and the configuration that it is tried in
)

// trial is a configuration that has nothing but the list, and so needs no privilege: it
// listens nowhere and logs nowhere.
const trial = `pid %[1]s/pid;
error_log stderr;
%[2]sevents {}
http {
access_log off;
client_body_temp_path %[1]s/temp; proxy_temp_path %[1]s/temp; fastcgi_temp_path %[1]s/temp;
uwsgi_temp_path %[1]s/temp; scgi_temp_path %[1]s/temp;
include %[1]s/` + listName + `;
}
`

// readList reads the file. One that is not there, or not as it was written, is an empty
// list without a generation.
func (t *Target) readList() (list, error) {
	f, err := os.Open(filepath.Join(t.options.Dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return list{}, nil
	}
	if err != nil {
		return list{}, fmt.Errorf("read the list: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return list{}, fmt.Errorf("read the list: %w", err)
	}
	l, _ := parseList(text)
	return l, nil
}

// fileGeneration is the generation that the file says it has; "" if there is none.
func (t *Target) fileGeneration() (string, error) {
	f, err := os.Open(filepath.Join(t.options.Dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the list: %w", err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, int64(len(firstLine+beforeGen+afterGen)+lenGeneration)))
	if err != nil {
		return "", fmt.Errorf("read the list: %w", err)
	}
	return headGeneration(head), nil
}

// writeList puts a file in the place of the one before, once nginx has found it right.
// After an error the one before is still there, whole, unless the error is of the disk in
// making the change last.
func (t *Target) writeList(ctx context.Context, text []byte) (err error) {
	pending := filepath.Join(t.options.Dir, pendingName)
	defer func() {
		if removed := os.RemoveAll(pending); err == nil && removed != nil {
			err = fmt.Errorf("write the list: %w", removed)
		}
	}()
	if err := os.RemoveAll(pending); err != nil { // of an offpath that was killed
		return fmt.Errorf("write the list: %w", err)
	}
	if err := os.Mkdir(pending, 0o700); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	next := filepath.Join(pending, listName)
	if err := writeFile(next, text); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	if err := t.try(ctx, pending); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(t.options.Dir, listName)); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return syncDir(t.options.Dir)
}

// try has nginx itself look at the list in a folder.
func (t *Target) try(ctx context.Context, dir string) error {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // else it would give folders away, for which it may lack the privilege
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := writeFile(config, fmt.Appendf(nil, trial, dir, user)); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	c := exec.CommandContext(ctx, t.options.Program, "-t", "-q", "-p", dir, "-c", config)
	c.Env = []string{}
	c.Dir = "/"
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil {
		const longest = 500
		text := strings.TrimSpace(said.String())
		return fmt.Errorf("nginx refuses the list, and the one before stays: %s -t: %w: %s", t.options.Program, err, text[:min(longest, len(text))])
	}
	return nil
}

// writeFile writes a file that outlives a crash of the host.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) // whatever the umask is
}

// syncDir makes names in a folder outlive a crash of the host.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
