package reassembly_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

func TestReleasedTransactionsComeBackEmptyAndLeaveWhatWasKeptOfThem(t *testing.T) {
	var a reassembly.Allocator
	tx := a.New()
	tx.ID, tx.Request.Headers = "0123", []string{"host"}
	id, headers := tx.ID, tx.Request.Headers
	reassembly.Release([]*reassembly.Transaction{tx})
	back := false
	for range 1000 {
		next := a.New()
		assert.Equal(t, &reassembly.Transaction{}, next)
		back = back || next == tx
		next.ID = "4567"
	}
	assert.True(t, back)
	assert.Equal(t, "0123", id)
	assert.Equal(t, []string{"host"}, headers)
}

func TestATransactionIsHandedOutOnceUntilItIsReleased(t *testing.T) {
	var allocators [2]reassembly.Allocator
	for range 3 {
		seen := make(map[*reassembly.Transaction]bool)
		var all []*reassembly.Transaction
		for i := range 10_000 {
			tx := allocators[i%2].New()
			assert.False(t, seen[tx])
			seen[tx] = true
			all = append(all, tx)
		}
		reassembly.Release(all)
	}
}
