package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/capture"
)

func verdictLine(id, action, message string, findings ...string) string {
	list, _ := json.Marshal(findings)
	return fmt.Sprintf(`{"@timestamp":"2026-01-05T12:00:00Z","event":{"id":%q},"offpath":{"action":%q,"finding":%s},"message":%q}`, id, action, list, message)
}

func findingLine(id, message string) string {
	return fmt.Sprintf(`{"@timestamp":"2026-01-05T12:00:00Z","event":{"id":%q,"kind":"alert"},"message":%q}`, id, message)
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func lines(list ...string) []byte { return []byte(strings.Join(list, "\n") + "\n") }

func texts(list []json.RawMessage) (all []string) {
	for _, line := range list {
		all = append(all, string(line))
	}
	return all
}

func TestTheLatestLinesOfAVerdictAndItsFindingsAreFound(t *testing.T) {
	findings := write(t, "f", lines(findingLine("f1", "old"), findingLine("f3", "v1 is not about it"), findingLine("f1", "new"), findingLine("f2", "other")))
	verdicts := write(t, "v", lines(verdictLine("v1", "block", "first", "f1"), "", verdictLine("v2", "block", "another", "f3"), verdictLine("v1", "block", "renewed", "f2", "f1", "gone")))
	a, err := Find("v1", File(findings), File(verdicts))
	require.NoError(t, err)
	assert.Equal(t, verdictLine("v1", "block", "renewed", "f2", "f1", "gone"), string(a.Verdict))
	assert.Equal(t, 2, a.Lines)
	assert.Equal(t, "2026-01-05T12:00:00Z", a.First)
	assert.Equal(t, []string{findingLine("f2", "other"), findingLine("f1", "new")}, texts(a.Findings), "what is gone is left out")
	assert.Empty(t, a.Verdicts)

	a, err = Find("f1", File(findings), File(verdicts))
	require.NoError(t, err)
	assert.Nil(t, a.Verdict)
	assert.Equal(t, []string{findingLine("f1", "new")}, texts(a.Findings))
	assert.Equal(t, []string{verdictLine("v1", "block", "renewed", "f2", "f1", "gone")}, texts(a.Verdicts))

	a, err = Find("f9", File(findings), File(verdicts))
	require.NoError(t, err)
	assert.True(t, a.None())
}

func TestALiftKeepsTheFindingsOfWhatItEnds(t *testing.T) {
	path := write(t, "v", lines(findingLine("f1", "why"), verdictLine("v1", "block", "first", "f1"), `{"event":{"id":"v1"},"offpath":{"action":"lift"}}`))
	a, err := Find("v1", File(path))
	require.NoError(t, err)
	assert.Equal(t, []string{findingLine("f1", "why")}, texts(a.Findings))
	assert.Contains(t, string(a.Verdict), "lift")
}

func TestTheVerdictsOfAFindingAreBounded(t *testing.T) {
	var list []string
	for i := range maxVerdicts + 7 {
		list = append(list, verdictLine(fmt.Sprint("v", i), "block", "", "f1"), verdictLine(fmt.Sprint("v", i), "block", "again", "f1"))
	}
	a, err := Find("f1", File(write(t, "v", lines(append(list, findingLine("f1", ""))...))))
	require.NoError(t, err)
	assert.Len(t, a.Verdicts, maxVerdicts)
	assert.Equal(t, 7, a.More)
}

func TestDamageIsNamedAndTheRestIsRead(t *testing.T) {
	good := verdictLine("v1", "block", "good")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(lines(good, good))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for _, c := range []struct {
		name    string
		content []byte
		offset  int64
		damage  string
	}{
		{"none", lines(good), 0, ""},
		{"packed", packed.Bytes(), 0, ""},
		{"no line feed at the end", []byte(good), 0, ""},
		{"a line cut short", lines(good[:58], good), 0, "unexpected end of JSON input"},
		{"the last line cut short", lines(good, good[:58]), int64(len(good) + 1), "unexpected end of JSON input"},
		{"a line far too long", lines(good, strings.Repeat("x", maxLine+1), good), int64(len(good) + 1), "a line is longer than 1048576 octets"},
		{"a packed file cut short", packed.Bytes()[:packed.Len()-8], int64(2 * (len(good) + 1)), "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "v", c.content)
			a, err := Find("v1", File(path))
			assert.Equal(t, good, string(a.Verdict))
			if c.damage == "" {
				assert.NoError(t, err)
				return
			}
			var damage *capture.DamageError
			require.ErrorAs(t, err, &damage)
			assert.Equal(t, path, damage.File)
			assert.Equal(t, c.offset, damage.Offset)
			assert.ErrorContains(t, damage.Err, c.damage)
		})
	}
	_, err = Find("v1", File(filepath.Join(t.TempDir(), "none")))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Find("v1", File(t.TempDir()))
	assert.ErrorContains(t, err, "is a folder")
}

func TestAStoreGoesOnWithWhatItHolds(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "evidence")
	for run := range 3 {
		s, err := Open(folder)
		require.NoError(t, err)
		s.Add(lines(findingLine("f1", fmt.Sprint("run ", run))))
		a, err := s.Find("f1")
		require.NoError(t, err)
		assert.Equal(t, []string{findingLine("f1", fmt.Sprint("run ", run))}, texts(a.Findings), "what is not flushed yet is found, too")
		assert.Equal(t, Stats{Lines: 1}, s.Stats())
		require.NoError(t, s.Close())
		// The process dies while it writes.
		f, err := os.OpenFile(filepath.Join(folder, "00000001.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString(`{"event":{"id":"f1","ki`)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	s, err := Open(folder)
	require.NoError(t, err)
	var kept []string
	require.NoError(t, s.Each(func(line []byte) { kept = append(kept, string(line)) }))
	assert.Len(t, kept, 6, "three lines and three that were cut")
	require.NoError(t, s.Close())
	for name, mode := range map[string]os.FileMode{folder: 0o700, filepath.Join(folder, "00000001.jsonl"): 0o600} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
}

func TestAStoreIsBoundedAndForgetsTheOldest(t *testing.T) {
	folder := t.TempDir()
	other := filepath.Join(folder, "notes.jsonl")
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	s, err := open(folder, 4000)
	require.NoError(t, err)
	const count = 2000
	for i := range count {
		s.Add(lines(findingLine(fmt.Sprintf("f%04d", i), "")))
		require.NoError(t, s.Flush())
	}
	var size int64
	for _, n := range s.segments() {
		info, err := os.Stat(s.path(n))
		require.NoError(t, err)
		size += info.Size()
	}
	assert.LessOrEqual(t, size, int64(segmentsKept*4200))
	assert.Len(t, s.segments(), segmentsKept)
	assert.FileExists(t, other, "it is none of the store's")
	old, err := s.Find("f0000")
	require.NoError(t, err)
	assert.True(t, old.None())
	last, err := s.Find(fmt.Sprintf("f%04d", count-1))
	require.NoError(t, err)
	assert.False(t, last.None())
	assert.Equal(t, Stats{Lines: count}, s.Stats())
}

func TestWhatCanNotBeWrittenIsCountedAndTheStoreGoesOn(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "evidence")
	s, err := open(folder, 100)
	require.NoError(t, err)
	s.Add(lines(findingLine("f1", strings.Repeat("x", 100))))
	require.NoError(t, s.Flush())
	require.NoError(t, os.RemoveAll(folder))
	s.Add(lines(findingLine("f2", "")))
	s.Add(lines(findingLine("f3", "")))
	assert.ErrorContains(t, s.Flush(), "no such file")
	assert.Equal(t, Stats{Lines: 3, Lost: 2}, s.Stats())
	require.NoError(t, os.Mkdir(folder, 0o700))
	s.Add(lines(findingLine("f4", "")))
	require.NoError(t, s.Flush())
	a, err := s.Find("f4")
	require.NoError(t, err)
	assert.False(t, a.None())
}

func TestALineThatWasWrittenInPartSwallowsNoOther(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "evidence")
	s, err := Open(folder)
	require.NoError(t, err)
	line := func(n int) []byte { return lines(verdictLine(fmt.Sprintf("%016x", n), "block", "m", "f1")) }
	s.Add(line(1))
	require.NoError(t, s.Flush())

	// No file may grow by more than half a line, as on a full disk.
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = uint64(len(line(1)) * 3 / 2)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &full))
	s.Add(line(2))
	err = s.Flush()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	require.Error(t, err)

	s.Add(line(3))
	require.NoError(t, s.Flush())
	require.NoError(t, s.Close())
	text, err := os.ReadFile(filepath.Join(folder, "00000001.jsonl"))
	require.NoError(t, err)
	assert.Equal(t, string(line(1))+string(line(3)), string(text))
	assert.Equal(t, Stats{Lines: 3, Lost: 1}, s.Stats())
}

func TestAskingWhileLinesComeIsSafe(t *testing.T) {
	s, err := open(t.TempDir(), 1000)
	require.NoError(t, err)
	s.Add(lines(findingLine("f1", "")))
	var work sync.WaitGroup
	work.Go(func() {
		for range 500 {
			s.Add(lines(findingLine("f1", "again")))
			assert.NoError(t, s.Flush())
		}
	})
	for range 4 {
		work.Go(func() {
			for range 20 {
				_, err := s.Find("f1")
				assert.NoError(t, err)
			}
		})
	}
	work.Wait()
	assert.NoError(t, errors.Join(s.Each(func([]byte) {}), s.Close()))
}
