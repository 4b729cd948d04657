package pipeline_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/reassembly/internal/script"
)

func TestIdentity(t *testing.T) {
	for _, test := range []struct {
		name           string
		client, server string
		communityID    string
	}{
		// Baseline of github.com/corelight/community-id-spec, seed 0.
		{"IPv4", "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"IPv4, the higher endpoint first", "66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"IPv6", "[2001:db8::1]:1024", "[2001:db8::2]:80", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := script.New()
			c := s.Connection()
			c.ClientAddr, c.ServerAddr = netip.MustParseAddrPort(test.client), netip.MustParseAddrPort(test.server)
			c.Open()
			exchangeOf(c, 2)
			c.Close()
			packets := s.Packets()
			for i := range packets {
				packets[i].Wrapping = capture.Wrapping{VLAN: [3]uint16{7}, Tags: 1, Layers: [8]capture.Encapsulation{capture.EncapsulationVLAN}, Depth: 1}
			}
			txs, _ := run(t, config, packets, 10)
			require.Len(t, txs, 2)
			tx := txs[0]
			assert.Equal(t, c.ClientAddr, tx.Source)
			assert.Equal(t, c.ServerAddr, tx.Destination)
			if test.communityID != "" {
				assert.Equal(t, test.communityID, tx.CommunityID)
			}
			assert.Equal(t, []uint16{7}, tx.VLAN)
			assert.Equal(t, []string{"vlan"}, tx.Encapsulation)
			assert.Equal(t, packets[3].Time, tx.Start)
			assert.Equal(t, packets[5].Time-packets[3].Time, tx.Duration)
			assert.Equal(t, packets[5].Clock, tx.End)
			assert.Equal(t, []int{0, 1}, []int{txs[0].Sequence, txs[1].Sequence})
			assert.Regexp(t, "^[0-9a-f]{24}$", tx.ID)
			assert.NotEqual(t, tx.ID, txs[1].ID)

			keyed := live
			keyed.Content.Key = []byte("another key, also of enough octets")
			again, _ := run(t, keyed, packets, 3)
			assert.Equal(t, tx.ID, again[0].ID, "ids do not depend on the key")
		})
	}
}

func TestEventIDsAreDistinct(t *testing.T) {
	s := script.New()
	const connections, requests = 40, 50
	for range connections {
		c := s.Connection()
		c.Open()
		for i := range requests {
			exchangeOf(c, i)
		}
		c.Close()
	}
	txs, _ := run(t, config, s.Packets(), 10)
	seen := map[string]bool{}
	digits := [24]map[byte]bool{}
	for _, tx := range txs {
		seen[tx.ID] = true
		for i := range digits {
			if digits[i] == nil {
				digits[i] = map[byte]bool{}
			}
			digits[i][tx.ID[i]] = true
		}
	}
	assert.Greater(t, len(txs), connections*requests-1)
	assert.Len(t, seen, len(txs))
	for i := range digits {
		assert.Len(t, digits[i], 16, "digit %d takes every value", i)
	}
}
