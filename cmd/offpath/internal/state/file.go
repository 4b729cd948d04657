// Package state keeps what detection knows in a file of the state folder, so
// that it survives a restart.
//
// The file is replaced whole and atomically: whatever happens, the one before or
// the new one is there. It is packed with Zstandard, and its memory is bounded by
// its size, whatever it says. Files that can't be used are set aside, a few for each
// reason, for whoever wants to know why.
//
// A [File] is for one process, and one goroutine at a time.
package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

const (
	name = "detection.state"
	temp = "." + name + "-*"
	// maxRatio is how much larger than the file what is in it may be.
	maxRatio = 1000
	// maxWindow bounds the memory of unpacking, octets.
	maxWindow = 8 << 20
)

// File is the state of one folder.
type File struct{ folder string }

// In names the file of a folder, which need not be there.
func In(folder string) *File { return &File{folder} }

// Path is where it is.
func (f *File) Path() string { return filepath.Join(f.folder, name) }

// maxAside is how many files are kept that were set aside for one reason.
const maxAside = 8

// aside is where it is moved if it can't be used, for a reason: a word. No other
// that was set aside goes for it, but for the last of too many.
func (f *File) aside(reason string) string {
	path := f.Path() + "." + reason
	for n := 2; n <= maxAside; n++ {
		if _, err := os.Lstat(path); err != nil {
			break
		}
		path = fmt.Sprintf("%s.%s.%d", f.Path(), reason, n)
	}
	return path
}

// Write replaces the file, and returns its size in octets. It is on the disk when
// Write returns.
func (f *File) Write(content io.WriterTo) (size int64, err error) {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return 0, err
	}
	file, err := os.CreateTemp(f.folder, temp) // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	packed, err := zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return 0, err
	}
	written, err := content.WriteTo(packed)
	if err != nil {
		return 0, err
	}
	if err := packed.Close(); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if err := file.Close(); err != nil {
		return 0, err
	}
	if written > maxRatio*info.Size() {
		return 0, fmt.Errorf("%d octets became %d: nobody would read that", written, info.Size())
	}
	if err := os.Rename(file.Name(), f.Path()); err != nil {
		return 0, err
	}
	return info.Size(), syncFolder(f.folder)
}

// syncFolder has the disk know the new name.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Read hands the content to use; its error, or that of the file. Where there is no
// file it is fs.ErrNotExist. What an earlier process left half-written is removed.
func (f *File) Read(use func(io.Reader) error) error {
	if left, err := filepath.Glob(filepath.Join(f.folder, temp)); err == nil {
		for _, path := range left {
			os.Remove(path)
		}
	}
	file, err := os.Open(f.Path())
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	packed, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer packed.Close()
	return use(io.LimitReader(packed, maxRatio*info.Size()))
}

// SetAside moves the file out of the way, and says where.
func (f *File) SetAside(reason string) (path string, err error) {
	path = f.aside(reason)
	if err := os.Rename(f.Path(), path); err != nil {
		return "", fmt.Errorf("set %s aside: %w", f.Path(), err)
	}
	return path, nil
}
