package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const switchFile = "switch.json"

// switchState is the kill switch as the state folder remembers it.
type switchState struct {
	Off   bool      `json:"off"`
	Who   string    `json:"who"`
	Since time.Time `json:"since"`
}

// readSwitch reads the kill switch; without a file it is on.
func readSwitch(folder string) (switchState, error) {
	var s switchState
	text, err := os.ReadFile(filepath.Join(folder, switchFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read kill switch: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read kill switch %s: %w", filepath.Join(folder, switchFile), err)
	}
	return s, nil
}

func writeSwitch(folder string, s switchState) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write kill switch: %w", err)
	}
	if err := replaceFile(filepath.Join(folder, switchFile), func(file io.Writer) error {
		_, err := file.Write(append(text, '\n'))
		return err
	}); err != nil {
		return fmt.Errorf("write kill switch: %w", err)
	}
	return nil
}

// replaceFile writes a file so that a crash leaves the old or the new one.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // the file is in its place; only its survival of a power cut is less sure
	}
	defer folder.Close()
	folder.Sync()
	return nil
}
