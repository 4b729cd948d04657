package pull

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
)

func board(t *testing.T, journal string) *Board {
	t.Helper()
	b, err := NewBoard(Options{Kind: "test", Address: "tcp:127.0.0.1:1", Keys: func() ([][]byte, error) { return nil, nil }, Journal: journal, Capacity: 4})
	require.NoError(t, err)
	return b
}

func entry(id uint64, client string) mitigate.Entry {
	return mitigate.Entry{ID: mitigate.ID(1<<32 | id), Action: detect.ActionBlock, Subject: detect.Subject{Client: netip.MustParsePrefix(client)}, Expires: time.Now().Add(time.Hour).Unix()}
}

func TestAddressesToListenOn(t *testing.T) {
	for address, want := range map[string]string{
		"unix:/run/a.sock": "", "tcp:127.0.0.1:80": "", "tcp:[::1]:80": "", "tcp::80": "", "tcp:localhost:1": "",
		"unix:a": "has no absolute path", "unix:/" + strings.Repeat("a", 107): "has a longer path than a unix socket may",
		"tcp:1.2.3.4": "is not tcp:HOST:PORT", "tcp:a.example:80": "has a host that is no address", "tcp:127.0.0.1:0": "has no port from 1 to 65535",
		"tcp:127.0.0.1:65536": "has no port from 1 to 65535", "127.0.0.1:80": "is neither unix:PATH nor tcp:HOST:PORT", "": "is neither unix:PATH nor tcp:HOST:PORT",
	} {
		assert.Equal(t, want, CheckAddress(address), address)
	}
	for address, want := range map[string]bool{
		"unix:/a": true, "tcp:127.9.9.9:1": true, "tcp:[::1]:1": true, "tcp:localhost:1": true, "tcp:[::ffff:127.0.0.1]:1": true,
		"tcp::1": false, "tcp:0.0.0.0:1": false, "tcp:192.0.2.1:1": false,
	} {
		assert.Equal(t, want, Local(address), address)
	}
	_, err := NewBoard(Options{Kind: "test", Address: "tcp:0.0.0.0:80", Keys: func() ([][]byte, error) { return nil, nil }})
	assert.ErrorContains(t, err, "is not loopback and so needs a certificate")
}

func TestTheAllowListWinsOverWhatContainsItAndWhatItContains(t *testing.T) {
	a := newAllowList([]netip.Prefix{netip.MustParsePrefix("192.0.2.8/29"), netip.MustParsePrefix("::ffff:198.51.100.7/128"), netip.MustParsePrefix("2001:db8::/32")})
	for p, want := range map[string]bool{
		"192.0.2.9/32": true, "192.0.2.0/24": true, "192.0.2.8/29": true, "192.0.2.0/29": false, "192.0.2.16/28": false,
		"198.51.100.7/32": true, "198.51.100.0/24": true, "198.51.100.8/29": false, "2001:db8:1::/48": true, "2001::/16": true, "2001:db9::/32": false,
	} {
		assert.Equal(t, want, a.overlaps(netip.MustParsePrefix(p)), p)
	}
}

func TestTheLatestConsumersAreKnownWhenThereAreTooMany(t *testing.T) {
	b := board(t, "")
	now := time.Now()
	for i := range MaxConsumers + 10 {
		b.seen(&Asks{Program: fmt.Sprintf("p%04d/1", i)}, now.Add(time.Duration(i)*time.Millisecond))
	}
	assert.Len(t, b.consumers, MaxConsumers)
	assert.Equal(t, uint64(10), b.forgotten)
	assert.NotContains(t, b.consumers, "p0009@unix  ")
	assert.Contains(t, b.consumers, "p0010@unix  ")
}

func TestAConsumerIsLateAfterThreeOfItsIntervals(t *testing.T) {
	b := board(t, "")
	now := time.Now()
	asks := Asks{Program: "p"}
	for i := range 3 {
		b.seen(&asks, now.Add(time.Duration(i)*10*time.Second)).fetches++
	}
	c, last := b.consumers[asks.key()], now.Add(20*time.Second)
	assert.Equal(t, 10*time.Second, c.interval())
	assert.False(t, c.late(last.Add(34*time.Second)))
	assert.True(t, c.late(last.Add(36*time.Second)))
	assert.False(t, c.absent(last.Add(23*time.Hour)))
	assert.True(t, c.absent(last.Add(25*time.Hour)))
	once := Asks{Program: "a person"}
	b.seen(&once, now).fetches++
	assert.False(t, b.consumers[once.key()].absent(now.Add(5*time.Minute)))
	assert.True(t, b.consumers[once.key()].absent(now.Add(6*time.Minute)), "who asked once has not to have what is published")
}

func TestNamesOfConsumersNeedNoQuoting(t *testing.T) {
	for program, want := range map[string]string{
		"crowdsec-firewall-bouncer/v0.0.25": "crowdsec-firewall-bouncer@192.0.2.1", "": "unknown@192.0.2.1", "a\"b\n{}": "a_b___@192.0.2.1", "é": "_@192.0.2.1",
		strings.Repeat("x", 100): strings.Repeat("x", 48) + "@192.0.2.1",
	} {
		a := Asks{Program: program, Source: "192.0.2.1"}
		assert.Equal(t, want, a.Name(), program)
	}
}

func TestOfTooManyThatAreGoneThoseThatEndFirstAreForgotten(t *testing.T) {
	b := board(t, "")
	require.NoError(t, b.SetMode(t.Context(), detect.ModeEnforce, false))
	for i := range uint64(6) {
		e := entry(i+1, fmt.Sprintf("192.0.2.%d/32", i))
		e.Expires += int64(i)
		require.NoError(t, b.Apply(t.Context(), []mitigate.Entry{e}, nil))
		require.NoError(t, b.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
	}
	assert.Len(t, b.list.items, 4)
	assert.Equal(t, uint64(2), b.list.lost)
	assert.NotContains(t, b.list.items, netip.MustParsePrefix("192.0.2.1/32"))
	assert.Contains(t, b.list.items, netip.MustParsePrefix("192.0.2.2/32"))
}

func TestOfTooManyEndsTheOneIsDroppedThatMattersLeast(t *testing.T) {
	var ends []int64
	for _, end := range []int64{100, 200, 300, 400, 500, 590, 600, 700, 800} {
		ends = withEnd(ends, end)
	}
	assert.Equal(t, []int64{100, 200, 300, 400, 500, 600, 700, 800}, ends)
}

func TestWhatCannotBeWrittenDownIsNotPublishedAndWhatGoesGoes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(folder, "published")
	b := board(t, path)
	require.NoError(t, b.SetMode(t.Context(), detect.ModeEnforce, false))
	first, second := entry(1, "192.0.2.1/32"), entry(2, "192.0.2.2/32")
	require.NoError(t, b.Apply(t.Context(), []mitigate.Entry{first}, nil))
	b.journal.close()
	require.NoError(t, os.RemoveAll(folder))
	require.NoError(t, os.WriteFile(folder, nil, 0o600)) // no folder can be here
	assert.Error(t, b.Apply(t.Context(), []mitigate.Entry{second}, []detect.Subject{first.Subject}))
	assert.True(t, b.list.items[first.Subject.Client].Gone)
	assert.Nil(t, b.list.items[second.Subject.Client])
	require.NoError(t, os.Remove(folder))
	require.NoError(t, os.Mkdir(folder, 0o700))
	_, err := b.Sync(t.Context(), []mitigate.Entry{second})
	require.NoError(t, err)
	assert.False(t, b.list.items[second.Subject.Client].Gone)

	_, held, err := openJournal(path, time.Now())
	require.NoError(t, err)
	assert.Len(t, held, 2, "what consumers may still hold")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestAJournalDoesNotGrowWithoutEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "published")
	j, _, err := openJournal(path, time.Now())
	require.NoError(t, err)
	p := netip.MustParsePrefix("192.0.2.1/32")
	end := time.Now().Unix()
	items := map[netip.Prefix]*Item{p: {held: end}}
	for i := range int64(slack) / 100 * 3 {
		fresh := map[netip.Prefix]int64{}
		for n := range 100 {
			fresh[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, byte(n)}), 32)] = end
		}
		require.NoError(t, j.add(fresh, items))
	}
	assert.Less(t, j.lines, 2*slack)
}

func FuzzJournal(f *testing.F) {
	now := time.Now().Unix()
	var b bytes.Buffer
	writeLine(&b, netip.MustParsePrefix("192.0.2.1/32"), now+60)
	writeLine(&b, netip.MustParsePrefix("2001:db8::/32"), now+60)
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-4])
	f.Add([]byte(strings.Repeat("x", 5000) + "\n192.0.2.1/32 99999999999999999999\n192.0.2.1/8 1\n\n \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		held, err := readJournal(bytes.NewReader(text), now)
		require.NoError(t, err)
		for p, end := range held {
			assert.Equal(t, p.Masked(), p)
			assert.True(t, end+remembered > now && end <= now+2*86400)
		}
	})
}
