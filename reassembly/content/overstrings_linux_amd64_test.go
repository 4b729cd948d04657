package content

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/internal/jsonscan"
)

// vectorsOnly skips a test where overStrings is not used.
func vectorsOnly(t *testing.T) {
	if !haveVectors {
		t.Skip("the processor has no AVX2 and BMI1")
	}
}

// pair returns two automata of which the first uses overStrings, and has them both learn
// from texts.
func pair(t *testing.T, texts ...[]byte) (vectors, plain *automaton) {
	a, b := newExtractor(t, nil), newExtractor(t, nil)
	b.automaton.vectors = false
	for range 3 {
		for _, text := range texts {
			walkBody(a, text, 0)
			walkBody(b, text, 0)
		}
	}
	return &a.automaton, &b.automaton
}

func TestVectorsLeadWhereTheAutomatonLeadsWithoutThem(t *testing.T) {
	vectorsOnly(t)
	rng := rand.New(rand.NewPCG(1, 2))
	texts := make([][]byte, 300)
	for i := range texts {
		texts[i] = bodies(rng)
	}
	vectors, plain := pair(t, texts...)
	for range 20_000 {
		text := bodies(rng)
		if rng.IntN(2) == 0 {
			text[rng.IntN(len(text))] = pick[byte](rng, '"', '\\', 'x', '}', 0, 0xff)
		}
		if rng.IntN(4) == 0 {
			text = text[:rng.IntN(len(text)+1)]
		}
		require.Equal(t, leads(plain, text), leads(vectors, text), "%q", text)
	}
}

func TestVectorsFindTheEndOfStringsOfAnyLength(t *testing.T) {
	vectorsOnly(t)
	const form = `{"a":"%s","password":"x","c":"y"}`
	vectors, plain := pair(t, fmt.Appendf(nil, form, ""))
	for length := range 3 * edgeOctets {
		for _, mark := range []string{"", `"`, `\`, `\"`, `\\`, `\\"`} {
			for at := range length + 1 {
				value := strings.Repeat("v", at) + mark + strings.Repeat("v", length-at)
				text := fmt.Appendf(nil, form, value)
				require.Equal(t, leads(plain, text), leads(vectors, text), "%s", text)
				if mark == "" {
					break
				}
			}
		}
	}
}

func TestVectorsReadNoPageWithoutAnOctetOfTheText(t *testing.T) {
	vectorsOnly(t)
	page := os.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, syscall.Munmap(memory)) })
	require.NoError(t, syscall.Mprotect(memory[page:], syscall.PROT_NONE))
	text := []byte(`{"first":"` + strings.Repeat("v", 20) + `","second":"",` + `"a name that is as long as a window":"x","token":"y"}`)
	vectors, plain := pair(t, text)
	for length := range len(text) + 1 {
		for gap := range 2*edgeOctets + 1 {
			end := page - gap
			there := memory[end-length : end : end]
			copy(there, text)
			require.Equal(t, leads(plain, there), leads(vectors, there), "%s", there)
		}
	}
}

func TestVectorsAreUsed(t *testing.T) {
	vectorsOnly(t)
	// Not at the end of a page, where they give way.
	text := append(make([]byte, 0, os.Getpagesize()), `{"a":"v","b":"v","c":"v"}`...)
	vectors, _ := pair(t, text)
	require.True(t, vectors.begin(text))
	_, n, _ := overStrings(&text[0], len(text), &vectors.edges[0], &vectors.ahead[0], &vectors.trail, vectors.likely[0][0], 0, 0, 0)
	assert.Equal(t, 3, n, "strings in one call")
	assert.EqualValues(t, 1, vectors.ahead[vectors.trail.edges[0]].length)
	assert.Equal(t, jsonscan.String, stringToken)
}
