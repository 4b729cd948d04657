package snapshot_test

import (
	"bytes"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/internal/snapshot"
)

// things is one of everything that a Codec codes.
type things struct {
	small  uint8
	large  uint64
	signed int64
	real   float64
	short  float32
	truth  bool
	text   string
	addr   netip.Addr
	prefix netip.Prefix
	list   []string
	table  map[string]int
	place  int
	octets [3]byte
	later  []uint64
}

func (t *things) state(c *snapshot.Codec) {
	c.Section("things")
	snapshot.Uint(c, &t.small)
	snapshot.Uint(c, &t.large)
	snapshot.Int(c, &t.signed)
	c.Float64(&t.real)
	c.Float32(&t.short)
	c.Bool(&t.truth)
	snapshot.String(c, &t.text)
	c.Addr(&t.addr)
	c.Prefix(&t.prefix)
	snapshot.List(c, &t.list, 100, func(s *string) { snapshot.String(c, s) })
	snapshot.Map(c, &t.table, 100, func(k *string, v *int) {
		snapshot.String(c, k)
		snapshot.Int(c, v)
	})
	c.Index(&t.place, 100)
	c.Octets(t.octets[:])
	list := func(c *snapshot.Codec) {
		snapshot.List(c, &t.later, 1<<20, func(v *uint64) { c.Fixed64(v) })
	}
	if c.Reading() {
		list(c)
	} else {
		c.Later(list)
	}
	c.Section("end")
}

func some() *things {
	t := &things{
		small: 255, large: math.MaxUint64, signed: math.MinInt64, real: -1e300, short: 1.5, truth: true,
		text: strings.Repeat("long text ", 50_000), addr: netip.MustParseAddr("fe80::1%eth0"), prefix: netip.MustParsePrefix("192.0.2.0/24"),
		list: []string{"b", "", "a"}, table: map[string]int{"z": -1, "a": 1, "": 0}, place: -1, octets: [3]byte{1, 2, 3},
	}
	for i := range 100_000 {
		t.later = append(t.later, uint64(i)*0x9e3779b97f4a7c15)
	}
	return t
}

func written(t testing.TB, s *things) []byte {
	c := snapshot.Writer()
	s.state(c)
	var b bytes.Buffer
	n, err := c.WriteTo(&b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	return b.Bytes()
}

func read(octets []byte) (*things, error) {
	c, err := snapshot.Reader(bytes.NewReader(octets))
	if err != nil {
		return nil, err
	}
	t := new(things)
	t.state(c)
	return t, c.Close()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for name, want := range map[string]*things{
		"one of everything, beyond the size of a chunk": some(),
		"nothing": {table: map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			octets := written(t, want)
			got, err := read(octets)
			require.NoError(t, err)
			assert.Equal(t, want, got)
			assert.Equal(t, octets, written(t, got), "and is the same octets again")
		})
	}
}

func TestDamageIsOneErrorThatSaysWhere(t *testing.T) {
	octets := written(t, some())
	for name, change := range map[string]func([]byte) []byte{
		"empty":                        func(b []byte) []byte { return nil },
		"another file":                 func(b []byte) []byte { return []byte("PK\x03\x04 and what follows there") },
		"cut short in the middle":      func(b []byte) []byte { return b[:len(b)/2] },
		"cut short by its last frame":  func(b []byte) []byte { return b[:len(b)-8] },
		"cut short between two frames": func(b []byte) []byte { return b[:18+8+1<<16] },
		"a bit in the middle":          func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a frame's length":             func(b []byte) []byte { b[20] = 0xff; return b },
		"the last checksum":            func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"two frames in the other's place": func(b []byte) []byte {
			const n = 8 + 1<<16
			first := bytes.Clone(b[18 : 18+n])
			copy(b[18:], b[18+n:18+2*n])
			copy(b[18+n:], first)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(change(bytes.Clone(octets)))
			assert.ErrorIs(t, err, snapshot.ErrDamaged)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestAnotherVersionIsAnErrorOfItsOwn(t *testing.T) {
	octets := written(t, some())
	octets[14]++
	_, err := read(octets)
	assert.ErrorIs(t, err, snapshot.ErrVersion)
	assert.NotErrorIs(t, err, snapshot.ErrDamaged)
}

// claims writes what some description writes, for another to read.
func claims(t *testing.T, write, read func(*snapshot.Codec)) error {
	t.Helper()
	out := snapshot.Writer()
	write(out)
	var b bytes.Buffer
	_, err := out.WriteTo(&b)
	require.NoError(t, err)
	in, err := snapshot.Reader(&b)
	require.NoError(t, err)
	read(in)
	return in.Close()
}

func TestAClaimIsNotBelieved(t *testing.T) {
	number := func(n uint64) func(*snapshot.Codec) {
		return func(c *snapshot.Codec) { snapshot.Uint(c, &n) }
	}
	for name, c := range map[string]struct {
		write, read func(*snapshot.Codec)
		want        string
	}{
		"a list longer than it may be": {number(1 << 40), func(c *snapshot.Codec) {
			snapshot.List(c, new([]uint64), 1<<30, func(v *uint64) { snapshot.Uint(c, v) })
		}, "is more than"},
		"a list longer than what is there": {number(1 << 29), func(c *snapshot.Codec) {
			list := []uint64(nil)
			assert.LessOrEqual(t, testing.AllocsPerRun(1, func() {
				snapshot.List(c, &list, 1<<30, func(v *uint64) { snapshot.Uint(c, v) })
			}), 100.0)
			assert.LessOrEqual(t, cap(list), 1<<10)
		}, "ends too early"},
		"a text longer than what is there": {number(1 << 19), func(c *snapshot.Codec) {
			snapshot.String(c, new(string))
		}, "ends too early"},
		"a number that is too large": {number(256), func(c *snapshot.Codec) { snapshot.Uint(c, new(uint8)) }, "too large"},
		"a truth that is 2":          {number(2), func(c *snapshot.Codec) { c.Bool(new(bool)) }, "a truth is 2"},
		"a place beyond the list":    {number(12), func(c *snapshot.Codec) { c.Index(new(int), 10) }, "is more than"},
		"a number that is none": {func(c *snapshot.Codec) { f := math.Float64bits(math.NaN()); c.Fixed64(&f) },
			func(c *snapshot.Codec) { c.Float64(new(float64)) }, "none"},
		"keys out of order": {func(c *snapshot.Codec) { n, m := uint64(7), uint64(math.MaxUint64); snapshot.Uint(c, &n, &m) },
			func(c *snapshot.Codec) {
				var k uint64
				c.Ascending(&k, 0)
				c.Ascending(&k, k)
			}, "out of order"},
		"a key twice": {func(c *snapshot.Codec) { n := uint64(2); k := uint64(3); snapshot.Uint(c, &n, &k, &k) },
			func(c *snapshot.Codec) {
				m := map[uint64]struct{}{}
				snapshot.Map(c, &m, 10, func(k *uint64, _ *struct{}) { snapshot.Uint(c, k) })
			}, "twice"},
		"another section":    {func(c *snapshot.Codec) { c.Section("a") }, func(c *snapshot.Codec) { c.Section("b") }, `"a" stands where "b" begins`},
		"more than is known": {number(1), func(*snapshot.Codec) {}, "more stands there"},
		"less than is known": {func(*snapshot.Codec) {}, func(c *snapshot.Codec) { snapshot.Uint(c, new(uint8)) }, "ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			err := claims(t, c.write, c.read)
			assert.ErrorIs(t, err, snapshot.ErrDamaged)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzReader(f *testing.F) {
	small := some()
	small.later, small.text = small.later[:10], "x"
	f.Add(written(f, small))
	f.Add(written(f, &things{}))
	f.Fuzz(func(t *testing.T, octets []byte) {
		got, err := read(octets)
		if err == nil {
			again, err := read(written(t, got))
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	})
}

func TestWhatNobodyCouldReadIsNotWritten(t *testing.T) {
	for name, describe := range map[string]func(c *snapshot.Codec){
		"no number":           func(c *snapshot.Codec) { v := math.NaN(); c.Float64(&v) },
		"an infinite one":     func(c *snapshot.Codec) { v := float32(math.Inf(1)); c.Float32(&v) },
		"a count below 0":     func(c *snapshot.Codec) { n := -1; c.Count(&n, 10) },
		"a count beyond":      func(c *snapshot.Codec) { n := 11; c.Count(&n, 10) },
		"a text without end":  func(c *snapshot.Codec) { s := strings.Repeat("x", 2<<20); snapshot.String(c, &s) },
		"one that comes late": func(c *snapshot.Codec) { c.Later(func(c *snapshot.Codec) { n := -1; c.Count(&n, 10) }) },
	} {
		c := snapshot.Writer()
		c.Section("test")
		describe(c)
		_, err := c.WriteTo(io.Discard)
		assert.ErrorContains(t, err, "it can't be written", name)
	}
}
