package endpoint

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/internal/snapshot"
	"offpath/reassembly"
)

func TestASnapshotHoldsNoCustomersNamesOutOfPaths(t *testing.T) {
	l := New(Config{})
	for i := range 5000 {
		tx := &reassembly.Transaction{Start: int64(i), End: int64(i) + 1, Client: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
		tx.Request.Method, tx.Request.Domain, tx.Request.Path = "GET", "api.example", fmt.Sprintf("/users/alice%d@example.com/cards", i)
		tx.Response.Status = 200
		l.Locate(tx)
	}
	c := snapshot.Writer()
	l.State(c)
	var octets bytes.Buffer
	_, err := c.WriteTo(&octets)
	require.NoError(t, err)
	// Those of before the template was known are names of endpoints.
	assert.Less(t, bytes.Count(octets.Bytes(), []byte("@example.com")), 200)
}
