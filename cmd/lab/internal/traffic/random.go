package traffic

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// mix is a hash of two numbers (the finaliser of MurmurHash3, twice): whatever
// belongs to an account for good is computed from its number instead of stored.
func mix(a, b uint64) uint64 {
	h := a*0x9e3779b97f4a7c15 ^ bits.RotateLeft64(b*0xc2b2ae3d27d4eb4f, 29)
	for range 2 {
		h ^= h >> 33
		h *= 0xff51afd7ed558ccd
		h ^= h >> 29
	}
	return h
}

// unit is a hash as a number from 0 up to 1.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

const hexDigits = "0123456789abcdef"

// hex is a hash as the sensor writes one.
func hex(h uint64) string {
	var b [16]byte
	for i := range b {
		b[i] = hexDigits[h>>(60-4*i)&15]
	}
	return string(b[:])
}

// between draws evenly.
func between(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }

// logBetween draws evenly on a logarithmic scale.
func logBetween(r *rand.Rand, low, high float64) float64 {
	return low * math.Pow(high/low, r.Float64())
}

// pick draws one of a list.
func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// weighted finds the entry of a cumulative list of weights that x, 0 up to the
// last of them, falls on.
func weighted(cumulative []float64, x float64) int {
	low, high := 0, len(cumulative)-1
	for low < high {
		if middle := (low + high) / 2; cumulative[middle] <= x {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// cumulate makes a cumulative list of n weights, which ends with 1.
func cumulate(n int, weight func(int) float64) []float64 {
	list, sum := make([]float64, n), 0.0
	for i := range list {
		sum += weight(i)
		list[i] = sum
	}
	for i := range list {
		list[i] /= sum
	}
	return list
}

// permutation is a bijection of 0 … n-1 that looks random: four rounds of a
// Feistel network over the next even power of two, walked until the result is
// below n.
type permutation struct {
	n, key uint64
	half   uint
}

func newPermutation(n, key uint64) permutation {
	width := uint(bits.Len64(max(n, 2) - 1))
	return permutation{n: n, key: key, half: (width + 1) / 2}
}

func (p permutation) at(i uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	for {
		left, right := i>>p.half, i&mask
		for round := range uint64(4) {
			left, right = right, left^mix(right, p.key+round)&mask
		}
		if i = left<<p.half | right; i < p.n {
			return i
		}
	}
}

// normalQuantile is the standard normal distribution function at z.
func normalQuantile(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
