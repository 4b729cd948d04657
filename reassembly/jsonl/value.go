package jsonl

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
)

// What follows reads the value behind a key. A value of another type than the
// contract's is a fault of the line; null is a value that is not known.

// member reads the value behind key, which is valid until then, into tx.
type member func(r *Reader, tx *reassembly.Transaction, key []byte)

// members reads the members of the object that has just been opened.
func (r *Reader) members(tx *reassembly.Transaction, read member) {
	for r.fault == nil {
		switch t, raw := r.scan.Next(); t {
		case jsonscan.Key:
			r.key = jsonscan.AppendUnescaped(r.key[:0], raw)
			read(r, tx, r.key)
		case jsonscan.Close:
			return
		default:
			r.fail(errJSON)
		}
	}
}

func (r *Reader) fail(err error) {
	if r.fault == nil {
		r.fault = err
	}
}

func (r *Reader) wrong(key []byte, want string) {
	if r.scan.Failed() {
		r.fail(errJSON)
	} else {
		r.fail(fmt.Errorf("%s: not %s", key, want))
	}
}

// object reads an object; false if it is none.
func (r *Reader) object(tx *reassembly.Transaction, key []byte, read member) bool {
	switch t, _ := r.scan.Next(); t {
	case jsonscan.Object:
		r.members(tx, read)
		return true
	case jsonscan.Null:
	default:
		r.wrong(key, "an object")
	}
	return false
}

// skip reads a value of any type and forgets it.
func (r *Reader) skip() {
	depth := r.scan.Depth()
	for {
		t, _ := r.scan.Next()
		if t == jsonscan.End {
			r.fail(errJSON)
			return
		}
		if r.scan.Depth() <= depth && t != jsonscan.Key {
			return
		}
	}
}

// octets reads a string and returns the octets of the wire that it stands for,
// valid until the next call; nil if it is null.
func (r *Reader) octets(key []byte) []byte {
	switch t, raw := r.scan.Next(); t {
	case jsonscan.String:
		r.raw = jsonscan.AppendUnescaped(r.raw[:0], raw)
		r.value = appendWire(r.value[:0], r.raw)
		return r.value
	case jsonscan.Null:
	default:
		r.wrong(key, "a string")
	}
	return nil
}

func (r *Reader) str(key []byte, dst *string) {
	r.text.Set(dst, r.octets(key))
}

var errInteger = errors.New("not an integer")

// integer reads an integer of at least low and at most high into dst.
func (r *Reader) integer(key []byte, low, high int64, set func(int64)) {
	t, raw := r.scan.Next()
	if t == jsonscan.Null {
		return
	}
	v, err := int64(0), errInteger
	if t == jsonscan.Number {
		v, err = parseInteger(string(raw))
	}
	if err != nil || v < low || v > high {
		r.wrong(key, fmt.Sprintf("an integer from %d to %d", low, high))
		return
	}
	set(v)
}

// parseInteger also takes 1.5e3, as tools write that calculate in floating
// point.
func parseInteger(s string) (int64, error) {
	v, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return v, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, errInteger
	}
	return int64(f), nil
}

func (r *Reader) int64(key []byte, low int64, dst *int64) {
	r.integer(key, low, math.MaxInt64, func(v int64) { *dst = v })
}

func (r *Reader) int(key []byte, low, high int64, dst *int) {
	r.integer(key, low, high, func(v int64) { *dst = int(v) })
}

func (r *Reader) bool(key []byte, dst *bool) {
	switch t, _ := r.scan.Next(); t {
	case jsonscan.True:
		*dst = true
	case jsonscan.False:
		*dst = false
	case jsonscan.Null:
	default:
		r.wrong(key, "true or false")
	}
}

func (r *Reader) time(key []byte, dst *int64) bool {
	v, ok := parseTime(r.octets(key))
	if !ok {
		r.wrong(key, "an RFC 3339 time")
		return false
	}
	*dst = v
	return true
}

func (r *Reader) addr(key []byte, dst *netip.Addr) {
	s := r.octets(key)
	if s == nil {
		return
	}
	addr, err := netip.ParseAddr(string(s))
	if err != nil {
		r.wrong(key, "an IP address")
		return
	}
	*dst = addr
}

// elements calls read for each element of a list with its first token; false if
// it is none.
func (r *Reader) elements(key []byte, read func(t jsonscan.Token, raw []byte)) bool {
	switch t, _ := r.scan.Next(); t {
	case jsonscan.Array:
	case jsonscan.Null:
		return false
	default:
		r.wrong(key, "a list")
		return false
	}
	for r.fault == nil {
		switch t, raw := r.scan.Next(); t {
		case jsonscan.Close:
			return true
		case jsonscan.End:
			r.fail(errJSON)
		default:
			read(t, raw)
		}
	}
	return false
}

// collect reads a list of strings into r.items.
func (r *Reader) collect(key []byte) {
	r.arena, r.items = r.arena[:0], r.items[:0]
	r.elements(key, func(t jsonscan.Token, raw []byte) {
		if t != jsonscan.String {
			r.wrong(key, "a list of strings")
			return
		}
		r.item(raw)
	})
}

// item adds a string to r.items.
func (r *Reader) item(raw []byte) {
	from := len(r.arena)
	r.raw = jsonscan.AppendUnescaped(r.raw[:0], raw)
	r.arena = appendWire(r.arena, r.raw)
	r.items = append(r.items, r.arena[from:len(r.arena):len(r.arena)])
}

func (r *Reader) list(key []byte, dst *[]string) {
	r.collect(key)
	if len(r.items) == 0 {
		return
	}
	out := make([]string, len(r.items))
	for i, item := range r.items {
		r.text.Set(&out[i], item)
	}
	*dst = out
}

// names reads a list of names, for types that are sets of them.
func (r *Reader) names(key []byte) []string {
	r.collect(key)
	out := make([]string, len(r.items))
	for i, item := range r.items {
		out[i] = string(item)
	}
	return out
}

// fields reads a list of [name, value].
func (r *Reader) fields(key []byte, dst *[][2]string) {
	r.arena, r.items = r.arena[:0], r.items[:0]
	ok := r.elements(key, func(t jsonscan.Token, _ []byte) {
		n := 0
		for inside := t == jsonscan.Array; inside; {
			var raw []byte
			t, raw = r.scan.Next()
			if inside = t == jsonscan.String && n < 2; inside {
				r.item(raw)
				n++
			}
		}
		if t != jsonscan.Close || n != 2 {
			r.wrong(key, "a list of [name, value]")
		}
	})
	if !ok {
		return
	}
	out := make([][2]string, len(r.items)/2)
	for i := range out {
		r.text.Set(&out[i][0], r.items[2*i])
		r.text.Set(&out[i][1], r.items[2*i+1])
	}
	*dst = out
}
