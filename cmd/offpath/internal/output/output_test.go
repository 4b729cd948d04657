package output

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func TestCreateTruncatesAndAppendAdds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for _, step := range []struct {
		open func() (*Lines, error)
		line string
		want string
	}{
		{func() (*Lines, error) { return Create(path, nil) }, "one\n", "one\n"},
		{func() (*Lines, error) { return Append(path) }, "two\n", "one\ntwo\n"},
		{func() (*Lines, error) { return Create(path, nil) }, "three\n", "three\n"},
	} {
		l, err := step.open()
		require.NoError(t, err)
		l.Add([]byte(step.line))
		require.NoError(t, l.Close())
		assert.Equal(t, step.want, read(t, path))
	}
}

func TestStandardOutputIsWrittenToAndLeftOpen(t *testing.T) {
	var stdout bytes.Buffer
	l, err := Create(Standard, &stdout)
	require.NoError(t, err)
	l.Add([]byte("line\n"))
	require.NoError(t, l.Close())
	assert.Equal(t, "line\n", stdout.String())
}

func TestTheFirstErrorStays(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full, a device that is always full")
	}
	l, err := Create("/dev/full", nil)
	require.NoError(t, err)
	l.Add([]byte("line\n"))
	assert.NoError(t, l.Err(), "nothing is written yet")
	l.Flush()
	assert.EqualError(t, l.Err(), "write output to /dev/full: no space left on device")
	l.Add([]byte("another\n"))
	assert.EqualError(t, l.Close(), "write output to /dev/full: no space left on device")
}

func TestReopenWritesToTheNewFileAfterARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	files, err := AppendAll(path, "", path+".verdicts")
	require.NoError(t, err)
	files.Transactions.Add([]*reassembly.Transaction{{ID: "before"}})
	reported := make(chan error, 3)
	files.Reopen(func(err error) { reported <- err })
	for range 3 {
		require.NoError(t, <-reported)
	}
	require.NoError(t, os.Rename(path, path+".1"))
	files.Reopen(func(err error) { reported <- err })
	for range 3 {
		require.NoError(t, <-reported)
	}
	files.Transactions.Add([]*reassembly.Transaction{{ID: "after"}})
	require.NoError(t, files.Close())
	assert.Equal(t, 1, strings.Count(read(t, path+".1"), "\n"))
	assert.Contains(t, read(t, path+".1"), "before")
	assert.Contains(t, read(t, path), "after")
}

func TestOutputsThatAreNotWantedDropEverything(t *testing.T) {
	var files Files
	assert.True(t, files.None())
	files.Transactions.Add([]*reassembly.Transaction{{}})
	files.Verdicts.Add([]byte("line\n"))
	files.Flush()
	assert.NoError(t, files.Err())
	assert.NoError(t, files.Close())
}

func TestNothingStaysOpenWhenOneOutputFails(t *testing.T) {
	folder := t.TempDir()
	_, err := CreateAll(nil, false, filepath.Join(folder, "a"), filepath.Join(folder, "none", "b"), "")
	assert.EqualError(t, err, "open output: open "+folder+"/none/b: no such file or directory")
}
