package reassembly_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

func TestReleasedTransactionsComeBackEmptyAndLeaveWhatWasKeptOfThem(t *testing.T) {
	tx := reassembly.NewTransaction()
	tx.ID, tx.Request.Headers = "0123", []string{"host"}
	id, headers := tx.ID, tx.Request.Headers
	reassembly.Release([]*reassembly.Transaction{tx})
	for range 10 {
		next := reassembly.NewTransaction()
		assert.Equal(t, &reassembly.Transaction{}, next)
		next.ID = "4567"
	}
	assert.Equal(t, "0123", id)
	assert.Equal(t, []string{"host"}, headers)
}
