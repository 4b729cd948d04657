package service

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/detect"
	"offpath/detect/engine"
)

// keeping is a keeper with its stage, of a folder.
func keeping(t *testing.T, folder string) *keeper {
	c := config.Default()
	c.State.Dir = folder
	k := newKeeper(newProcess(Options{Config: c, Log: logging.Log{Logger: zerolog.Nop()}}), []byte("the key of the site"))
	stage, err := detection.Start(detection.Config{Queue: 100, Open: k.open})
	require.NoError(t, err)
	k.stage = stage
	return k
}

// onStage does something where the stage does its work.
func onStage(t *testing.T, k *keeper, do func()) {
	_, err := detection.Ask(t.Context(), k.stage, func(*engine.Engine) bool { do(); return true })
	require.NoError(t, err)
}

func TestTheStateSaysHowFarEachPartitionWasRead(t *testing.T) {
	folder := t.TempDir()
	k := keeping(t, folder)
	type mark struct {
		generation uint64
		watermark  int64
	}
	var kept []mark
	k.kept = func(generation uint64, watermark int64) { kept = append(kept, mark{generation, watermark}) }
	input := ""
	read := func() string {
		onStage(t, k, func() { input = k.input() })
		return input
	}
	assert.Empty(t, read(), "without Kafka there is nothing to say")
	onStage(t, k, func() { k.assigned(1, []int{0, 1}) })
	assert.Empty(t, read(), "nothing was fed")
	k.stage.Put(nil, 1000)
	assert.Equal(t, `{"0":1000,"1":1000}`, read())
	onStage(t, k, func() { k.assigned(2, []int{1, 2}) })
	assert.Equal(t, `{"0":1000,"1":1000}`, read(), "of the new one nothing was fed")
	k.stage.Put(nil, 500)
	assert.Equal(t, `{"0":1000,"1":1000,"2":500}`, read(), "another had left it behind")
	k.stage.Put(nil, 3000)
	require.NoError(t, k.last(k.stage.Close))
	assert.Equal(t, []mark{{2, 3000}}, kept)

	k = keeping(t, folder)
	assert.Equal(t, map[int]int64{0: 1000, 1: 3000, 2: 3000}, k.covered)
	assert.EqualValues(t, 3000, k.resumed.Time)
	require.NoError(t, k.stage.Close())
}

func TestASnapshotIsTakenInTimeAndSoonAfterNewsOfACampaign(t *testing.T) {
	k := keeping(t, t.TempDir())
	began := k.taken
	written := func(after time.Duration) bool {
		before := k.books.Stats().Written
		k.tick(began.Add(after))
		onStage(t, k, func() {})
		k.writing.Wait()
		return k.books.Stats().Written != before
	}
	assert.False(t, written(4*time.Minute))
	assert.True(t, written(5*time.Minute))
	assert.False(t, written(6*time.Minute))
	k.found(&detect.Finding{}, true)
	assert.False(t, written(7*time.Minute), "an alert is no campaign")
	k.found(&detect.Finding{Campaign: &detect.Campaign{State: "open"}}, false)
	assert.False(t, written(7*time.Minute), "a line about a known one is no news")
	k.found(&detect.Finding{Campaign: &detect.Campaign{State: "open"}}, true)
	assert.True(t, written(7*time.Minute))
	k.found(&detect.Finding{Campaign: &detect.Campaign{State: "closed"}}, false)
	assert.False(t, written(7*time.Minute+newsAfter-time.Second), "not one after the other")
	assert.True(t, written(7*time.Minute+newsAfter))
	require.NoError(t, k.stage.Close())
}

// unwritable is a snapshot that can't be written.
type unwritable struct{}

func (unwritable) WriteTo(io.Writer) (int64, error) { return 0, io.ErrShortWrite }

func TestAStateThatCannotBeWrittenIsAProblemUntilOneCan(t *testing.T) {
	k := keeping(t, t.TempDir())
	assert.False(t, k.write(unwritable{}, 0))
	require.NotNil(t, k.failure.Load())
	assert.ErrorContains(t, *k.failure.Load(), "can't be kept")
	assert.EqualValues(t, 1, k.books.Stats().Errors)
	k.take(time.Now())
	onStage(t, k, func() {})
	k.writing.Wait()
	assert.Nil(t, k.failure.Load())
	require.NoError(t, k.stage.Close())
}

func TestAStateAheadOfTheClockIsNotGoneOnFrom(t *testing.T) {
	ahead := func(t *testing.T, by time.Duration) (folder, file string) {
		folder = t.TempDir()
		k := keeping(t, folder)
		onStage(t, k, func() {})
		k.stage.Post(func(e *engine.Engine) { e.Advance(time.Now().Add(by).UnixNano()) })
		k.take(time.Now())
		onStage(t, k, func() {})
		k.writing.Wait()
		require.NoError(t, k.stage.Close())
		return folder, k.file.Path()
	}
	open := func(folder string) (*keeper, error) {
		c := config.Default()
		c.State.Dir = folder
		k := newKeeper(newProcess(Options{Config: c, Log: logging.Log{Logger: zerolog.Nop()}}), []byte("the key of the site"))
		_, err := k.open(engine.Config{}, nil)
		return k, err
	}
	t.Run("by less than clocks differ it is", func(t *testing.T) {
		folder, file := ahead(t, maxAhead/2)
		k, err := open(folder)
		require.NoError(t, err)
		assert.NotZero(t, k.resumed.Time)
		assert.NoFileExists(t, file+".ahead")
	})
	t.Run("a clock was wrong when it was written: it is set aside", func(t *testing.T) {
		folder, file := ahead(t, time.Hour)
		k, err := open(folder)
		require.NoError(t, err)
		assert.Zero(t, k.resumed.Time)
		assert.FileExists(t, file+".ahead")
	})
	t.Run("the clock is wrong now: nothing is moved", func(t *testing.T) {
		folder, file := ahead(t, time.Hour)
		future := time.Now().Add(time.Hour)
		require.NoError(t, os.Chtimes(file, future, future))
		_, err := open(folder)
		var setup *SetupError
		require.ErrorAs(t, err, &setup)
		assert.ErrorContains(t, err, "clock is behind")
		assert.FileExists(t, file)
	})
}

func TestAKeyIsNamedWithoutBeingTold(t *testing.T) {
	assert.Empty(t, keyID(nil))
	assert.NotEqual(t, keyID([]byte("one")), keyID([]byte("two")))
	assert.NotContains(t, keyID([]byte("one")), "one")
}
