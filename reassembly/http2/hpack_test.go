package http2

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"offpath/reassembly"
)

// corpora lies beside the project; see its README.md.
const corpora = "../../../shared/corpora"

// ample is a Budget without limit that knows what is taken.
type ample struct{ used int }

func (b *ample) Take(n int) bool { b.used += n; return true }
func (b *ample) Give(n int)      { b.used -= n }

// decoded is one header block as the decoder reads it.
func decoded(d *decoder, t *table, s *section, block []byte) (fields [][2]string) {
	d.block(t, &ample{}, s, block, false)
	for _, f := range s.fields {
		fields = append(fields, [2]string{string(f.Name), string(f.Value)})
	}
	return fields
}

// oracle is one header block as golang.org/x/net reads it.
func oracle(d *hpack.Decoder, block []byte) (fields [][2]string, err error) {
	list, err := d.DecodeFull(block)
	for _, f := range list {
		fields = append(fields, [2]string{f.Name, f.Value})
	}
	return fields, err
}

func TestHPACKStories(t *testing.T) {
	stories, err := filepath.Glob(corpora + "/hpack-test-case/*/story_*.json")
	require.NoError(t, err)
	if len(stories) == 0 {
		t.Skip("the corpora are not there: " + corpora + "/hpack-test-case")
	}
	blocks := 0
	for _, path := range stories {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		var story struct {
			Cases []struct {
				Wire      string
				TableSize *uint32             `json:"header_table_size"`
				Headers   []map[string]string `json:"headers"`
			}
		}
		require.NoError(t, json.Unmarshal(data, &story))
		require.NotEmpty(t, story.Cases)
		var ours, late table
		var s section
		var d decoder
		late.lose(&ample{})
		theirs := hpack.NewDecoder(defaultTable, nil)
		for i, c := range story.Cases {
			block, err := hex.DecodeString(c.Wire)
			require.NoError(t, err)
			var want [][2]string
			for _, h := range c.Headers {
				for name, value := range h {
					want = append(want, [2]string{name, value})
				}
			}
			at := fmt.Sprintf("%s, block %d", path, i)
			require.Equal(t, want, decoded(&d, &ours, &s, block), at)
			require.True(t, s.whole)
			require.Zero(t, s.unknown)
			peer, err := oracle(theirs, block)
			require.NoError(t, err)
			require.Equal(t, peer, want, at)
			blocks++

			// Joined at the second block, the decoder reads a part of the truth.
			if i > 0 {
				part := decoded(&d, &late, &s, block)
				require.True(t, s.whole, at)
				require.Equal(t, len(want), len(part)+s.unknown, at)
				require.True(t, subsequence(part, want), "%s: %q of %q", at, part, want)
			}
		}
	}
	t.Logf("%d stories, %d blocks", len(stories), blocks)
}

// subsequence reports whether part is whole with elements left out.
func subsequence[T comparable](part, whole []T) bool {
	for _, x := range part {
		i := 0
		for i < len(whole) && whole[i] != x {
			i++
		}
		if i == len(whole) {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}

func TestTheStaticTableIsThatOfTheRFC(t *testing.T) {
	d := hpack.NewDecoder(defaultTable, nil)
	for i := 1; i <= staticEntries; i++ {
		fields, err := oracle(d, []byte{0x80 | byte(i)})
		require.NoError(t, err)
		require.Equal(t, [][2]string{{string(static[i].name), string(static[i].value)}}, fields)
	}
}

func TestHPACKBlocks(t *testing.T) {
	long := strings.Repeat("x", 5000)
	literal := func(first byte, name, value string) string {
		out := string([]byte{first})
		for _, s := range []string{name, value} {
			out += string(appendInteger(nil, 7, 0, uint64(len(s)))) + s
		}
		return out
	}
	for _, test := range []struct {
		name    string
		partial bool
		block   string
		want    string // name=value;
		unknown int
		whole   bool
		flags   string
	}{
		{"a static entry", false, "\x82", ":method=GET;", 0, true, ""},
		{"index 0 is none", false, "\x82\x80\x84", ":method=GET;", 0, false, "hpack_error"},
		{"an index that was never made", false, "\xbe", "", 0, false, "hpack_error"},
		{"an index that may have been made before", true, "\x82\xbe\xbf\x84", ":method=GET;:path=/;", 2, true, ""},
		{"entries made since are known", true, "\xc5" + literal(0x40, "a", "b") + "\xbe\xbf", "a=b;a=b;", 2, true, ""},
		{"a value under an unknown name is not known", true, "\x7e\x01v\xbe", "", 2, true, ""},
		{"a table emptied by the encoder is known", true, "\x20\x3f\xe1\x1f" + literal(0x40, "a", "b") + "\xbe\xbf", "a=b;a=b;", 0, false, "hpack_error"},
		{"an entry larger than the table empties it", false, literal(0x40, "a", "b") + literal(0x40, "c", long) + "\xbe", "a=b;c=" + long + ";", 0, false, "hpack_error"},
		{"a size update after a field is applied", false, literal(0x40, "a", "b") + "\x20\xbe", "a=b;", 0, false, "hpack_error"},
		{"an evicted name can be used by the entry that evicts it", false, "\x3f\x09" + literal(0x40, "ab", "") + "\x7e\x01x\xbe", "ab=;ab=x;ab=x;", 0, true, ""},
		{"a string that goes on beyond the block", false, "\x82\x44\x05/ab", ":method=GET;", 0, false, "hpack_error"},
		{"a Huffman string that is none", false, "\x44\x81\x00", "", 0, false, "hpack_error"},
		{"an integer that overflows", false, "\xff\xff\xff\xff\xff\xff\xff", "", 0, false, "hpack_error"},
		{"an integer with zeros behind", false, "\xff\x80\x80\x80\x00", "", 0, false, "hpack_error"},
		{"upper case in a name", false, literal(0, "Ab", "c"), "Ab=c;", 0, true, "invalid_header"},
		{"what is wrong with a name is wrong with all that use it", false, literal(0x40, "A", "b") + "\x0f\x2f\x00", "A=b;A=;", 0, true, "invalid_header"},
		{"line ends and NUL in a value", false, literal(0x40, "a", "b\r\n\x00"), "a=b\r\n\x00;", 0, true, "bare_lf,bare_cr,nul_in_head"},
		{"a field that the server would take for framing", false, literal(0, "transfer-encoding", "chunked"), "transfer-encoding=chunked;", 0, true, "invalid_header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, s, d := table{partial: test.partial}, section{}, decoder{}
			got := ""
			for _, f := range decoded(&d, &table, &s, []byte(test.block)) {
				got += f[0] + "=" + f[1] + ";"
			}
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.unknown, s.unknown, "fields not known")
			assert.Equal(t, test.whole, s.whole)
			assert.Equal(t, test.flags, strings.Join(s.anomalies.Names(), ","))
		})
	}
}

// appendInteger encodes an integer with a prefix of so many bits (RFC 7541
// section 5.1).
func appendInteger(dst []byte, bits uint, first byte, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func TestABombOfReferencesIsBounded(t *testing.T) {
	var tab table
	var s section
	d, b := decoder{}, &ample{}
	value := bytes.Repeat([]byte{'x'}, 4000)
	block := append([]byte{0x40, 1, 'a'}, appendInteger(nil, 7, 0, uint64(len(value)))...)
	block = append(append(block, value...), bytes.Repeat([]byte{0xbe}, 60<<10)...)
	d.block(&tab, b, &s, block, false)
	assert.True(t, s.whole)
	assert.Equal(t, 16, len(s.fields), "64 KiB of them")
	assert.Equal(t, "head_too_large", strings.Join(s.anomalies.Names(), ","))
	assert.LessOrEqual(t, cap(d.octets), 256<<10)
	assert.LessOrEqual(t, b.used, 16<<10)

	d.block(&tab, b, &s, bytes.Repeat([]byte{0x82}, 60<<10), false)
	assert.Equal(t, MaxFields, len(s.fields))
	assert.Contains(t, s.anomalies.Names(), "too_many_headers")
}

func TestABombOfNamesIsBounded(t *testing.T) {
	// A name that fills the table, and 30,000 fields that make an entry of it again.
	name := bytes.Repeat([]byte{'a'}, defaultTable-entryCost)
	block := append(appendInteger([]byte{0x40}, 7, 0, uint64(len(name))), name...)
	block = append(append(block, 0), bytes.Repeat([]byte{0x7e, 0}, 30_000)...)
	var tab table
	var s section
	var d decoder
	d.block(&tab, &ample{}, &s, block, false)
	assert.False(t, s.whole)
	assert.NotZero(t, s.anomalies&reassembly.AnomalyHeadTooLarge)
	assert.LessOrEqual(t, d.named, maxNamed+len(name))
	assert.LessOrEqual(t, cap(d.octets), 2*MaxHead)
	assert.True(t, tab.partial, "what comes later is known in part")
}

func TestATableThatTheBudgetRefusesIsKnownInPart(t *testing.T) {
	var tab table
	var s section
	var d decoder
	block := []byte("\x82\x40\x01a\x01b\xbe")
	d.block(&tab, noBudget{}, &s, block, false)
	assert.True(t, s.whole)
	assert.Len(t, s.fields, 2)
	assert.Equal(t, 1, s.unknown)
}

func TestATableIsChargedWhatItHolds(t *testing.T) {
	assert.EqualValues(t, entryOctets, reflect.TypeFor[entry]().Size())
	var tab table
	b := &ample{}
	for i := range 10000 {
		f := field{name: fmt.Appendf(nil, "name-%d", i), value: []byte("value"), known: true}
		tab.insert(b, &f)
		require.LessOrEqual(t, tab.size, defaultTable)
		var got field
		ok := tab.lookup(62, &got)
		require.True(t, ok)
		require.Equal(t, f.name, got.name)
		got = field{}
		ok = tab.lookup(uint64(61+len(tab.entries)-tab.first), &got)
		require.True(t, ok)
		require.Equal(t, "value", string(got.value))
	}
	assert.Equal(t, cap(tab.octets)+entryOctets*cap(tab.entries), b.used)
	assert.LessOrEqual(t, b.used, 16<<10)
	tab.release(b)
	assert.Zero(t, b.used)
}

// FuzzHPACK: blocks that golang.org/x/net decodes are decoded to the same fields,
// and a decoder that joins late reads a part of them.
func FuzzHPACK(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x0fwww.example.com"), []byte("\x82\x86\x84\xbe\x58\x08no-cache"))
	f.Add([]byte("\x3f\x09\x40\x02ab\x00\x7e\x01x\xbe"), []byte("\x20\xbe"))
	f.Add([]byte("\x40\x01a\x81\x1f"), []byte("\xbe\x7e\x82\xf1\xe3"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var ours, late table
		var s section
		var d decoder
		late.lose(&ample{})
		theirs := hpack.NewDecoder(defaultTable, nil)
		theirs.SetAllowedMaxDynamicTableSize(1<<32 - 1)
		for i, block := range [][]byte{first, second} {
			want, err := oracle(theirs, block)
			got := decoded(&d, &ours, &s, block)
			require.LessOrEqual(t, ours.size, maxTable)
			if err != nil {
				return
			}
			if len(want) > MaxFields || ours.max > maxTable ||
				s.anomalies&(reassembly.AnomalyHeadTooLarge|reassembly.AnomalyTooManyHeaders) != 0 {
				return
			}
			require.True(t, s.whole)
			require.Equal(t, want, got)
			if i == 1 {
				part := decoded(&d, &late, &s, block)
				require.True(t, s.whole)
				require.Equal(t, len(want), len(part)+s.unknown)
				require.True(t, subsequence(part, want), "%q of %q", part, want)
			}
		}
	})
}
