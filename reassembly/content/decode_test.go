package content

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// compressed applies codings, as their names stand in Content-Encoding, one
// after the other.
func compressed(tb testing.TB, codings string, data []byte) []byte {
	for _, coding := range strings.Split(codings, ", ") {
		var b bytes.Buffer
		var w io.WriteCloser
		var err error
		switch strings.ToLower(coding) {
		case "gzip", "x-gzip":
			w = gzip.NewWriter(&b)
		case "deflate":
			w = zlib.NewWriter(&b)
		case "raw":
			w, err = flate.NewWriter(&b, 6)
		case "zstd":
			w, err = zstd.NewWriter(&b)
		case "br":
			w = brotli.NewWriter(&b)
		default:
			continue
		}
		require.NoError(tb, err)
		_, err = w.Write(data)
		require.NoError(tb, err)
		require.NoError(tb, w.Close())
		data = b.Bytes()
	}
	return data
}

// unfinished applies deflate without the block that would be its last.
func unfinished(tb testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	require.NoError(tb, err)
	_, err = w.Write(data)
	require.NoError(tb, err)
	require.NoError(tb, w.Flush())
	return b.Bytes()
}

// coded is a JSON message with a body of these codings.
func coded(wire []byte, codings ...string) (*message.Head, message.Body) {
	head, _ := parse(jsonHead)
	head.Method, head.Target = []byte("POST"), []byte("/")
	for _, c := range codings {
		head.Fields = append(head.Fields, message.Field{Name: []byte("Content-Encoding"), Value: []byte(c)})
	}
	head.Shape = shapes.Find(head.Fields)
	return head, message.Body{Prefix: wire, Bytes: int64(len(wire)), Whole: true}
}

func withBodies(c *Config) { c.DetailBodies = true }

func TestContentCodings(t *testing.T) {
	e := newExtractor(t, withBodies)
	content := []byte(`{"access_token":"abcdef","filler":"` + strings.Repeat("x", 40000) + `"}`)
	sum := sha256.Sum256(content)
	plain := func(wire []byte) []byte { return wire }
	for _, c := range []struct {
		name   string
		fields []string
		how    string
		change func([]byte) []byte
		known  bool
	}{
		{"identity", []string{"identity"}, "", plain, true},
		{"none", nil, "", plain, true},
		{"an empty field", []string{""}, "", plain, true},
		{"gzip", []string{"gzip"}, "gzip", plain, true},
		{"x-gzip in capitals", []string{"X-GZIP"}, "x-gzip", plain, true},
		{"two members of gzip", []string{"gzip"}, "", func([]byte) []byte {
			return append(compressed(t, "gzip", content[:99]), compressed(t, "gzip", content[99:])...)
		}, true},
		{"gzip with name, comment, extra field and header checksum", []string{"gzip"}, "gzip", func(wire []byte) []byte {
			head := append([]byte{}, wire[:10]...)
			head[3] = gzipHeaderCRC | gzipExtra | gzipName | gzipComment
			return append(append(head, "\x03\x00abcname\x00comment\x00\x12\x34"...), wire[10:]...)
		}, true},
		{"gzip and something behind it", []string{"gzip"}, "gzip", func(wire []byte) []byte { return append(wire, "garbage"...) }, true},
		{"gzip with a wrong checksum, which clients don't look at", []string{"gzip"}, "gzip", func(wire []byte) []byte {
			wire[len(wire)-8]++
			return wire
		}, true},
		{"gzip without its trailer", []string{"gzip"}, "gzip", func(wire []byte) []byte { return wire[:len(wire)-8] }, true},
		{"deflate in zlib's format", []string{"deflate"}, "deflate", plain, true},
		{"deflate without zlib's format", []string{"deflate"}, "raw", plain, true},
		{"deflate that was flushed and not finished", []string{"deflate"}, "", func([]byte) []byte { return unfinished(t, content) }, true},
		{"zstd", []string{"zstd"}, "zstd", plain, true},
		{"br", []string{"br"}, "br", plain, true},
		{"one upon the other", []string{"gzip, br"}, "gzip, br", plain, true},
		{"one upon the other, in fields of their own", []string{"deflate", "identity, zstd"}, "deflate, zstd", plain, true},
		{"four times gzip", []string{"gzip, gzip, gzip, gzip"}, "gzip, gzip, gzip, gzip", plain, true},
		{"five times gzip", []string{"gzip, gzip, gzip, gzip, gzip"}, "gzip, gzip, gzip, gzip, gzip", plain, false},
		{"br twice", []string{"br, br"}, "br, br", plain, false},
		{"one coding, named twice", []string{"deflate", "deflate"}, "deflate", plain, true},
		{"control characters in the name, and flags that mean nothing", []string{"\r g\x00zip\f"}, "gzip", func(wire []byte) []byte {
			wire[3] |= 0xe0
			return wire
		}, true},
		{"text, whatever it says", []string{"gzip, br"}, "", plain, true},
		{"compress is not undone", []string{"compress"}, "", func([]byte) []byte { return []byte("\x1f\x9d\x90abcd") }, false},
		{"a coding nobody knows", []string{"gzip, rot13"}, "gzip", plain, false},
		{"gzip that is none", []string{"gzip"}, "deflate", plain, false},
		{"br that is none", []string{"br"}, "gzip", plain, false},
		{"zstd that is none", []string{"zstd"}, "br", plain, false},
		{"deflate that is none", []string{"deflate"}, "zstd", plain, false},
		{"zlib with a preset dictionary", []string{"deflate"}, "", func([]byte) []byte { return []byte("\x78\xbb1234") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the readers are used again
				wire := c.change(compressed(t, c.how, content))
				tx := &reassembly.Transaction{}
				head, body := coded(wire, c.fields...)
				e.Response(tx, head, body)
				assert.EqualValues(t, len(wire), tx.Response.BodyBytes)
				assert.Zero(t, tx.Anomalies)
				if !c.known {
					assert.Empty(t, tx.Response.Detail.SHA256)
					assert.EqualValues(t, reassembly.Unknown, tx.Response.Detail.DecodedBytes)
					assert.Empty(t, tx.Auth.SessionIssued)
					continue
				}
				assert.Equal(t, hex.EncodeToString(sum[:]), tx.Response.Detail.SHA256)
				assert.EqualValues(t, len(content), tx.Response.Detail.DecodedBytes)
				assert.Equal(t, hashes(e, "abcdef"), tx.Auth.SessionIssued)
			}
		})
	}
	t.Run("a body that isn't whole has no hash", func(t *testing.T) {
		head, body := parse(jsonHead + "{}")
		body.Whole = false
		tx := &reassembly.Transaction{}
		e.Response(tx, head, body)
		assert.Empty(t, tx.Response.Detail.SHA256)
		assert.EqualValues(t, reassembly.Unknown, tx.Response.Detail.DecodedBytes)
	})
	t.Run("deflate that is cut off has no hash", func(t *testing.T) {
		wire := unfinished(t, content)
		tx := &reassembly.Transaction{}
		head, body := coded(wire[:len(wire)-1], "deflate")
		e.Response(tx, head, body)
		assert.Empty(t, tx.Response.Detail.SHA256)
		assert.EqualValues(t, reassembly.Unknown, tx.Response.Detail.DecodedBytes)
	})
	t.Run("an empty body is empty, whatever its coding", func(t *testing.T) {
		tx := response(e, "HTTP/1.1 200 OK\nContent-Encoding: gzip")
		assert.EqualValues(t, 0, tx.Response.Detail.DecodedBytes)
		assert.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", tx.Response.Detail.SHA256)
	})
}

func TestABodyThatIsCutOffGivesWhatWasBefore(t *testing.T) {
	e := newExtractor(t, withBodies)
	random := rand.New(rand.NewPCG(1, 2))
	filler := make([]byte, 3000)
	for i := range filler {
		filler[i] = "0123456789abcdef"[random.IntN(16)]
	}
	content := []byte(`{"access_token":"abcdef","filler":"` + string(filler) + `"}`)
	for _, coding := range []string{"gzip", "deflate", "br", "gzip, gzip"} {
		t.Run(coding, func(t *testing.T) {
			wire := compressed(t, coding, content)
			head, body := coded(wire[:len(wire)*3/4], coding)
			for _, body.Whole = range []bool{false, true} {
				tx := &reassembly.Transaction{}
				e.Response(tx, head, body)
				assert.Equal(t, hashes(e, "abcdef"), tx.Auth.SessionIssued)
				assert.Empty(t, tx.Response.Detail.SHA256)
				assert.EqualValues(t, reassembly.Unknown, tx.Response.Detail.DecodedBytes)
			}
		})
	}
}

func TestWhatOnlySaysThatItIsCodedIsRead(t *testing.T) {
	e := newExtractor(t, withBodies)
	for _, coding := range []string{"gzip", "br", "deflate", "zstd", "rot13"} {
		head, body := coded([]byte(`{"user":"alice","password":"p"}`), coding)
		tx := &reassembly.Transaction{}
		e.Request(tx, head, body)
		assert.Equal(t, e.Hash(KindPassword, []byte("p")), tx.Auth.PasswordHash, coding)
		assert.EqualValues(t, 31, tx.Request.Detail.DecodedBytes)
		head, body = coded(compressed(t, coding, []byte(`{"user":"alice","password":"p"}`)), coding)
		tx = &reassembly.Transaction{}
		e.Request(tx, head, body)
		assert.Equal(t, e.Hash(KindPassword, []byte("p")), tx.Auth.PasswordHash, coding)
	}
}

// bombs are of a thousand to one and more.
func bombs(tb testing.TB) map[string][]byte {
	zeros := make([]byte, 16<<20)
	m := map[string][]byte{}
	for _, coding := range []string{"gzip", "deflate", "zstd", "br", "gzip, gzip", "gzip, br", "zstd, gzip"} {
		m[coding] = compressed(tb, coding, zeros)
	}
	return m
}

func TestABombIsDefused(t *testing.T) {
	for name, change := range map[string]func(*Config){"prefix alone": nil, "with bodies": withBodies} {
		e := newExtractor(t, change)
		for coding, wire := range bombs(t) {
			t.Run(name+", "+coding, func(t *testing.T) {
				head, body := coded(wire, coding)
				tx := &reassembly.Transaction{}
				e.Response(tx, head, body)
				assert.Equal(t, []string{"compression_bomb"}, tx.Anomalies.Names())
				assert.Empty(t, tx.Response.Detail.SHA256)
				assert.LessOrEqual(t, e.decoder.octets, int64(2*minBomb), "decoded")
				tx = &reassembly.Transaction{}
				e.Request(tx, head, body)
				assert.Equal(t, []string{"compression_bomb"}, tx.Anomalies.Names())
			})
		}
	}
	t.Run("what is larger than the bound is one, however it came about", func(t *testing.T) {
		e := newExtractor(t, withBodies)
		line := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
		content := make([]byte, 0, maxDecoded+2<<20)
		random := rand.New(rand.NewPCG(1, 2))
		for len(content) <= maxDecoded+1<<20 {
			content = append(content, line[random.IntN(len(line)):]...)
		}
		head, body := coded(compressed(t, "zstd", content), "zstd")
		tx := &reassembly.Transaction{}
		e.Response(tx, head, body)
		assert.Equal(t, reassembly.AnomalyCompressionBomb, tx.Anomalies)
	})
	t.Run("what repeats itself is none yet", func(t *testing.T) {
		e := newExtractor(t, withBodies)
		content := []byte(strings.Repeat(`{"id":"tx-1","amount":{"value":"12.50","currency":"EUR"}},`, 1000))
		head, body := coded(compressed(t, "gzip", content), "gzip")
		tx := &reassembly.Transaction{}
		e.Response(tx, head, body)
		assert.Zero(t, tx.Anomalies)
		assert.EqualValues(t, len(content), tx.Response.Detail.DecodedBytes)
	})
	t.Run("the next message knows nothing of it", func(t *testing.T) {
		e := newExtractor(t, nil)
		head, body := coded(bombs(t)["gzip"], "gzip")
		e.Response(&reassembly.Transaction{}, head, body)
		assert.Zero(t, response(e, jsonHead+"{}").Anomalies)
	})
}

func TestCodedBodiesDoNotAllocate(t *testing.T) {
	const login = `{"user":"alice","password":"correct horse","device":{"id":"d1","os":"iOS 17.1","model":"iPhone"}}`
	for _, bodies := range []bool{false, true} {
		for _, coding := range []string{"gzip", "deflate", "zstd", "br", "gzip, br"} {
			head, body := coded(compressed(t, coding, []byte(login)), coding)
			least := math.Inf(1)
			for range 4 { // strings of one message may share a place in a table of one Extractor
				e := newExtractor(t, func(c *Config) { c.DetailBodies = bodies })
				var tx reassembly.Transaction
				one := func() {
					tx = reassembly.Transaction{}
					e.Request(&tx, head, body)
				}
				for range 3 {
					one()
				}
				least = min(least, testing.AllocsPerRun(100, one))
			}
			allowed := 0.0
			if bodies {
				allowed = 1 // the sum
			}
			assert.LessOrEqual(t, least, allowed, coding)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	for coding, wire := range bombs(f) {
		f.Add(coding, wire[:min(len(wire), 500)])
		f.Add(coding, compressed(f, coding, []byte(`{"user":"alice"}`)))
	}
	f.Add("deflate", compressed(f, "raw", []byte("abc")))
	f.Add("deflate", unfinished(f, []byte("abc")))
	f.Add("gzip,,identity, x-gzip , compress", []byte("\x1f\x8b\x08\xff"))
	e, bodies := newExtractor(f, nil), newExtractor(f, withBodies)
	f.Fuzz(func(t *testing.T, codings string, wire []byte) {
		wire = wire[:min(len(wire), bodyLimit)]
		head, body := coded(wire, codings)
		decoded := func(e *Extractor) ([]byte, bool) {
			fields := e.shapes.fields(head)
			e.decoder.begin(&fields, body)
			return e.decoder.prefix()
		}
		short, whole := decoded(e)
		long, whole2 := decoded(bodies)
		require.Equal(t, whole, whole2)
		require.True(t, bytes.Equal(short, long), "what is seen does not depend on detail")
		require.LessOrEqual(t, e.decoder.octets, int64(minBomb+32<<10))
		sum, octets, ok := bodies.decoder.digest()
		if whole {
			require.True(t, ok)
			require.EqualValues(t, len(long), octets)
			want := sha256.Sum256(long)
			require.Equal(t, want[:], sum)
		}
		require.LessOrEqual(t, bodies.decoder.octets, maxRatio*int64(len(wire))+minBomb+64<<10)
	})
}

func BenchmarkCodings(b *testing.B) {
	e := newExtractor(b, nil)
	run := func(name, coding string, wire []byte) {
		b.Run(name+" "+coding, func(b *testing.B) {
			head, body := coded(wire, coding)
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			var tx reassembly.Transaction
			for b.Loop() {
				tx = reassembly.Transaction{}
				e.Response(&tx, head, body)
			}
		})
	}
	_, list := parse(apiResponse)
	for _, coding := range []string{"identity", "gzip", "deflate", "br", "zstd"} {
		run("answer", coding, compressed(b, coding, list.Prefix))
	}
	for coding, wire := range bombs(b) {
		run("bomb", coding, wire[:min(len(wire), bodyLimit)])
	}
}
