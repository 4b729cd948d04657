package detection

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/output"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// began is the event time of the tests, ns.
const began = int64(1_770_000_000e9)

func batch(n int, end int64) []*reassembly.Transaction {
	txs := make([]*reassembly.Transaction, n)
	for i := range txs {
		txs[i] = &reassembly.Transaction{ID: "x", Start: end, End: end + int64(i)}
	}
	return txs
}

func TestEverythingThatWasFedIsHandledBeforeTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	files, err := output.AppendAll(path, "", "")
	require.NoError(t, err)
	observed := 0
	s, err := Start(Config{Queue: 10, Files: files, Observed: func(txs []*reassembly.Transaction) { observed += len(txs) }})
	require.NoError(t, err)
	for i := range int64(100) {
		s.Put(batch(7, began+i*1e9), began+i*1e9)
	}
	require.NoError(t, s.Close())
	assert.Equal(t, 700, observed)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 700, strings.Count(string(content), "\n"))
}

func TestWithoutAQueueABatchIsWrittenWhenPutReturns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	files, err := output.CreateAll(nil, false, path, "", "")
	require.NoError(t, err)
	observed := 0
	s, err := NewInline(Config{Files: files, Observed: func(txs []*reassembly.Transaction) { observed += len(txs) }})
	require.NoError(t, err)
	for i := range int64(3) {
		s.Put(batch(7, began+i*1e9), began+i*1e9)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, 7*(int(i)+1), strings.Count(string(content), "\n"))
	}
	require.NoError(t, s.Close())
	assert.Equal(t, 21, observed)
}

func TestQuestionsAreAnsweredAtTheirPlace(t *testing.T) {
	s, err := Start(Config{Queue: 10})
	require.NoError(t, err)
	s.Put(batch(5, began), began)
	stats, err := Ask(context.Background(), s, (*engine.Engine).Stats)
	require.NoError(t, err)
	assert.Equal(t, uint64(5), stats.Transactions)
	require.NoError(t, s.Close())
	_, err = Ask(context.Background(), s, (*engine.Engine).Stats)
	assert.ErrorIs(t, err, ErrStopped)
}

func TestAQuestionToABusyEngineGivesUpInTime(t *testing.T) {
	s, err := Start(Config{Queue: 10})
	require.NoError(t, err)
	release := make(chan struct{})
	s.Post(func(*engine.Engine) { <-release })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = Ask(ctx, s, (*engine.Engine).Stats)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	close(release)
	require.NoError(t, s.Close())
}

func TestOperatorsVerdictsAreWrittenAtTheirPlaceInEventTimeAndNotDecidedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.jsonl")
	files, err := output.AppendAll("", "", path)
	require.NoError(t, err)
	s, err := Start(Config{Queue: 10, Files: files, Decided: func(v *detect.Verdict) { t.Errorf("decided %v", v) }})
	require.NoError(t, err)
	s.Put(nil, began)
	v := detect.Verdict{ID: "0000000100000002", Action: detect.ActionBlock, Mode: detect.ModeMonitor, Time: 1, Expires: began + 600e9}
	s.Watch(v)
	s.Lifted(v)
	require.NoError(t, s.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[0], `"action":"block"`)
	assert.Contains(t, lines[1], `"action":"lift"`)
	for _, line := range lines {
		assert.Contains(t, line, `{"@timestamp":"2026-02-02T02:40:00`)
	}
}

func TestAnOutputThatFailsIsReportedOnce(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full, a device that is always full")
	}
	files, err := output.AppendAll("", "", "/dev/full")
	require.NoError(t, err)
	reports := make(chan error, 10)
	s, err := Start(Config{Queue: 10, Files: files, Failed: func(err error) { reports <- err }})
	require.NoError(t, err)
	s.Watch(detect.Verdict{ID: "0000000100000002"})
	assert.EqualError(t, <-reports, "write output to /dev/full: no space left on device")
	s.Watch(detect.Verdict{ID: "0000000100000003"})
	assert.Error(t, s.Close())
	assert.Empty(t, reports)
}
