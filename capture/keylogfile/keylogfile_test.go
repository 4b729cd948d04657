package keylogfile_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture/keylogfile"
)

// followed is a file and what was read of it.
type followed struct {
	t    *testing.T
	path string
	*keylogfile.Follower
	got strings.Builder
}

func follow(t *testing.T) *followed {
	f := &followed{t: t, path: filepath.Join(t.TempDir(), "keys.log")}
	f.Follower = keylogfile.New(f.path, func(lines []byte) { f.got.Write(lines) })
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}

func (f *followed) add(text string) {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(f.t, err)
	_, err = file.WriteString(text)
	require.NoError(f.t, err)
	require.NoError(f.t, file.Close())
}

func (f *followed) want(text string) {
	f.t.Helper()
	require.NoError(f.t, f.Poll())
	assert.Equal(f.t, text, f.got.String())
}

func TestWholeLinesAreHandedOnAsTheyCome(t *testing.T) {
	f := follow(t)
	assert.ErrorIs(t, f.Poll(), fs.ErrNotExist)
	f.add("a\nb")
	f.want("a\n")
	f.want("a\n")
	f.add("c\nd\n")
	f.want("a\nbc\nd\n")
	f.add("e")
	f.want("a\nbc\nd\n")
	require.NoError(t, f.Close())
	assert.Equal(t, "a\nbc\nd\ne", f.got.String(), "the last line has no end")
}

func TestAFileThatWasCutBeginsAgain(t *testing.T) {
	f := follow(t)
	f.add("first\nsecond, not ended")
	f.want("first\n")
	require.NoError(t, os.Truncate(f.path, 0))
	f.add("new\n")
	f.want("first\nnew\n")
	assert.EqualValues(t, 1, f.Stats().Restarts)
}

func TestAFileThatWasReplacedIsReadToItsEnd(t *testing.T) {
	f := follow(t)
	f.add("one\n")
	f.want("one\n")
	f.add("two\nthree")
	require.NoError(t, os.Rename(f.path, f.path+".1"))
	f.add("four\n")
	f.want("one\ntwo\nthreefour\n")
	assert.EqualValues(t, 1, f.Stats().Restarts)
	require.NoError(t, os.Remove(f.path))
	assert.ErrorIs(t, f.Poll(), fs.ErrNotExist)
	f.add("five\n")
	f.want("one\ntwo\nthreefour\nfive\n")
}

func TestALineThatIsTooLongIsPassedOver(t *testing.T) {
	f := follow(t)
	f.add("a\n" + strings.Repeat("x", 300_000))
	f.want("a\n")
	f.add("xx\nb\n" + strings.Repeat("y\n", 100_000))
	f.want("a\nb\n" + strings.Repeat("y\n", 100_000))
	assert.EqualValues(t, 1, f.Stats().LongLines)
	assert.EqualValues(t, 2+300_000+5+200_000, f.Stats().Octets)
}

func TestAFolderIsNoKeyLog(t *testing.T) {
	f := keylogfile.New(t.TempDir(), func([]byte) {})
	assert.ErrorIs(t, f.Poll(), keylogfile.ErrNotRegular)
}

func TestRunReportsWhatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.log")
	lines := make(chan string, 10)
	f := keylogfile.New(path, func(l []byte) { lines <- string(l) })
	ctx, cancel := context.WithCancel(context.Background())
	reports := make(chan error, 10)
	done := make(chan struct{})
	go func() {
		f.Run(ctx, time.Millisecond, func(err error) { reports <- err })
		close(done)
	}()
	assert.ErrorIs(t, <-reports, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("a\n"), 0o600))
	assert.NoError(t, <-reports)
	assert.Equal(t, "a\n", <-lines)
	cancel()
	<-done
	assert.Empty(t, reports)
	assert.NoError(t, f.Close())
}
