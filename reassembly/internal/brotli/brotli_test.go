package brotli

import (
	"bytes"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	peer "github.com/andybalholm/brotli"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheDictionaryIsThatOfTheRFC(t *testing.T) {
	assert.Len(t, dictionary, 122784)
	assert.Equal(t, uint32(0x5136cb04), crc32.ChecksumIEEE([]byte(dictionary)))
	assert.Equal(t, 122784, wordOffsets[maxWord]+maxWord<<wordBits[maxWord])
	longest := 0
	for i := range transforms {
		longest = max(longest, len(transforms[i].prefix)+maxWord+len(transforms[i].suffix))
	}
	assert.LessOrEqual(t, longest, maxTransformed)
}

func encode(tb testing.TB, quality, window int, data []byte) []byte {
	var b bytes.Buffer
	w := peer.NewWriterOptions(&b, peer.WriterOptions{Quality: quality, LGWin: window})
	_, err := w.Write(data)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return b.Bytes()
}

func decode(r *Reader, data []byte) ([]byte, error) {
	r.Reset(bytes.NewReader(data))
	return io.ReadAll(r)
}

// contents are of the kinds that use different parts of the format.
func contents() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 50_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	skewed := make([]byte, 80_000)
	for i := range skewed {
		skewed[i] = byte(random.NormFloat64()*9) + byte(i>>10)
	}
	words := strings.Repeat("The quick brown fox jumps over the lazy dog. Privacy Policy and Terms of Service of the United States ", 40)
	json := strings.Repeat(`{"id":"tx-1","amount":{"value":"12.50","currency":"EUR"},"payee":"Grocer","date":"2024-01-01"},`, 300)
	return map[string][]byte{
		"nothing": {}, "an octet": {'a'}, "words of the dictionary": []byte(words), "JSON": []byte(json), "zeros": make([]byte, 300_000),
		"noise": noise, "skewed octets": skewed, "UTF-8": []byte(strings.Repeat("Grüße aus Köln, Привет мир, 你好世界 ", 500)),
		"a mixture": bytes.Join([][]byte{noise[:5000], []byte(json), skewed, []byte(words), noise}, nil),
	}
}

func TestWhatAPeerEncodes(t *testing.T) {
	var r Reader
	for name, data := range contents() {
		t.Run(name, func(t *testing.T) {
			for _, quality := range []int{0, 1, 4, 5, 7, 9, 10, 11} {
				for _, window := range []int{10, 18, 24} {
					got, err := decode(&r, encode(t, quality, window, data))
					require.NoError(t, err, "quality %d, window %d", quality, window)
					require.True(t, bytes.Equal(data, got), "quality %d, window %d", quality, window)
				}
			}
		})
	}
}

func TestOctetByOctetAndWithALateEnd(t *testing.T) {
	var r Reader
	data := contents()["a mixture"][:100_000]
	wire := append(encode(t, 9, 16, data), "what comes after"...)
	r.Reset(bytes.NewReader(wire))
	got, err := io.ReadAll(iotest.OneByteReader(&r))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
}

func TestAStreamThatIsCutOffGivesWhatWasBefore(t *testing.T) {
	var r Reader
	data := contents()["skewed octets"][:5000]
	wire := encode(t, 5, 18, data)
	had := 0
	for n := range wire {
		got, err := decode(&r, wire[:n])
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.True(t, bytes.HasPrefix(data, got))
		require.GreaterOrEqual(t, len(got), had)
		had = len(got)
	}
	assert.Greater(t, had, len(data)/2)
}

func TestStreamsThatAreNone(t *testing.T) {
	var r Reader
	for name, wire := range map[string]string{
		"a large window":                          "\x11\x18",
		"a reserved bit":                          "\x1c",
		"a size with a needless nibble":           "\x04\x00\x00\x00\x00",
		"a distance beyond window and dictionary": "\x1b\x76\x00\x00\x24\x40\xe2\xb1\x09\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(&r, []byte(wire))
			assert.Error(t, err)
		})
	}
	_, err := decode(&r, encode(t, 11, 22, []byte("good again after all that")))
	assert.NoError(t, err)
}

func TestNothingIsAllocatedByALengthThatIsOnlyStated(t *testing.T) {
	var r Reader
	// A window of 2^24 and a meta-block of 2^24 octets, of which there are none.
	_, err := decode(&r, []byte{0x0f, 0xfc, 0xff, 0xff, 0xff, 0x00})
	assert.Error(t, err)
	assert.Len(t, r.ring, firstRing)
}

func TestAReaderThatIsWarmDoesNotAllocate(t *testing.T) {
	var r Reader
	var source bytes.Reader
	buf := make([]byte, 32<<10)
	for _, wire := range [][]byte{
		encode(t, 5, 22, contents()["JSON"]), encode(t, 11, 22, contents()["a mixture"]),
		encode(t, 11, 22, contents()["a mixture"])[:5000], []byte("this is none"),
	} {
		one := func() {
			source.Reset(wire)
			r.Reset(&source)
			for {
				if _, err := r.Read(buf); err != nil {
					return
				}
			}
		}
		for range 10 {
			one()
		}
		assert.Zero(t, testing.AllocsPerRun(20, one))
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range contents() {
		data = data[:min(len(data), 3000)]
		f.Add(encode(f, 1, 10, data))
		f.Add(encode(f, 11, 22, data))
	}
	f.Add([]byte("\x11\x18"))
	f.Add([]byte("\x0f\xfc\xff\xff\xff\x00"))
	var r Reader
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 1 << 20
		r.Reset(bytes.NewReader(wire))
		got, err := io.ReadAll(io.LimitReader(&r, limit))
		require.LessOrEqual(t, len(r.ring), 1<<24)
		want, peerErr := io.ReadAll(io.LimitReader(peer.NewReader(bytes.NewReader(wire)), limit))
		switch {
		case peerErr == nil:
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		case err == nil && len(got) < limit:
			// What follows the end is no matter here: not the last octet's bits
			// either.
			require.Regexp(t, "excessive input|PADDING_2", peerErr.Error())
			fallthrough
		default:
			n := min(len(want), len(got))
			require.True(t, bytes.Equal(want[:n], got[:n]))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	for name, data := range contents() {
		for _, quality := range []int{5, 11} {
			wire := encode(b, quality, 22, data)
			b.Run(name+"/"+string(rune('0'+quality%10)), func(b *testing.B) {
				var r Reader
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				buf := make([]byte, 32<<10)
				var source bytes.Reader
				for b.Loop() {
					source.Reset(wire)
					r.Reset(&source)
					for {
						if _, err := r.Read(buf); err != nil {
							break
						}
					}
				}
			})
		}
	}
}
