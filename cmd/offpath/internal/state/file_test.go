package state_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/state"
)

func content(t *testing.T, f *state.File) string {
	var b []byte
	require.NoError(t, f.Read(func(r io.Reader) (err error) {
		b, err = io.ReadAll(r)
		return err
	}))
	return string(b)
}

// breaking fails after some octets.
type breaking struct{}

var errBroken = errors.New("broken")

func (breaking) WriteTo(w io.Writer) (int64, error) {
	w.Write(bytes.Repeat([]byte("half"), 1000))
	return 4000, errBroken
}

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made when needed")
	f := state.In(folder)
	assert.ErrorIs(t, f.Read(nil), fs.ErrNotExist)
	for _, text := range []string{"first", "second, which is longer", ""} {
		size, err := f.Write(bytes.NewBufferString(text))
		require.NoError(t, err)
		info, err := os.Stat(f.Path())
		require.NoError(t, err)
		assert.Equal(t, info.Size(), size)
		assert.Equal(t, fs.FileMode(0o600), info.Mode())
		assert.Equal(t, text, content(t, f))
	}
	_, err := f.Write(bytes.NewBufferString("the last"))
	require.NoError(t, err)
	_, err = f.Write(breaking{})
	assert.ErrorIs(t, err, errBroken)
	assert.Equal(t, "the last", content(t, f))

	left := filepath.Join(folder, ".detection.state-123")
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	content(t, f)
	list, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, list, 1, "what was half-written is gone")
}

func TestAFileThatIsNotWhatItSeemsIsAnErrorAndSetAside(t *testing.T) {
	f := state.In(t.TempDir())
	_, err := f.Write(bytes.NewReader(make([]byte, 100<<20))) // packs to next to nothing
	assert.Error(t, err, "what would not be read is not written")
	assert.NoFileExists(t, f.Path())
	bomb, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.Path(), bomb.EncodeAll(make([]byte, 100<<20), nil), 0o600))
	n := int64(0)
	require.NoError(t, f.Read(func(r io.Reader) (err error) {
		n, err = io.Copy(io.Discard, r)
		return err
	}))
	assert.Less(t, n, int64(20<<20), "it is not unpacked without end")

	require.NoError(t, os.WriteFile(f.Path(), []byte("no Zstandard"), 0o600))
	assert.Error(t, f.Read(func(r io.Reader) error {
		_, err := io.ReadAll(r)
		return err
	}))
	first, err := f.SetAside("damaged")
	require.NoError(t, err)
	assert.NoFileExists(t, f.Path())
	_, err = f.SetAside("damaged")
	assert.Error(t, err)
	require.NoError(t, os.WriteFile(f.Path(), []byte("another"), 0o600))
	second, err := f.SetAside("damaged")
	require.NoError(t, err)
	for path, want := range map[string]string{first: "no Zstandard", second: "another"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
}
