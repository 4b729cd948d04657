package dataplane

import (
	"strconv"
	"strings"
)

// The API's order to write a whole map does one of two things, by the length of what it is
// given (client-native, runtime/runtime_client.go, from 2.3 of 2021 to 6.4): what fits one
// command to HAProxy is appended to the map, what does not replaces it in one step. And of
// what it cuts into commands it loses the last entry where that begins a new one, and
// repeats a command where the last entry fills one. So lines are added that match nothing,
// until it replaces, and loses and repeats nothing but such.
//
// Where it does not know HAProxy's version, which it asks when it starts, it appends the
// first command of whatever it is given. So the first command has such lines alone.

// commandSize is where the API begins a new command, octets of "key value\n".
const commandSize = 8192

// padded are lines with as many more before and behind them as it takes; pad makes them.
func padded(lines []line, pad func(int) line) []line {
	out := make([]line, 0, len(lines)+20)
	made := 0
	more := func() {
		out = append(out, pad(made))
		made++
	}
	for size := 0; size <= commandSize; {
		more()
		l := out[len(out)-1]
		size += len(l.Key) + 1 + len(l.Value) + 1
	}
	out = append(out, lines...)
	for more(); !whole(out); {
		more()
	}
	return out
}

// whole says whether the API replaces a map by these lines, the last one aside: each in
// one command, none in two.
func whole(lines []line) bool {
	replaces, exact := false, false
	command := 0 // octets of it so far
	for _, l := range lines {
		size := len(l.Key) + 1 + len(l.Value) + 1
		command += size
		exact = command == commandSize
		switch {
		case exact:
			command = 0
		case command > commandSize:
			replaces, command = true, size
		}
	}
	return replaces && !exact
}

const (
	padKey     = "pad:"
	padNetwork = "100::" // of 100::/64, from where nothing comes (RFC 6666)
)

// padValue reads as a verdict that does nothing and is over.
var padValue = "0:0:0:" + strings.Repeat("0", 512)

// padText is a line for a map of texts, padAddress one for a map of networks.
func padText(i int) line    { return line{padKey + strconv.Itoa(i), padValue} }
func padAddress(i int) line { return line{padNetwork + strconv.FormatInt(int64(i)+1, 16), padValue} }

// syncText and syncAddress are written to have the file of a map follow, and say nothing
// themselves.
var (
	syncText    = line{padKey + "sync", "0:0:0:0"}
	syncAddress = line{padNetwork + "ffff", "0:0:0:0"}
)

func isPad(key string) bool {
	return strings.HasPrefix(key, padKey) || strings.HasPrefix(key, padNetwork) && !strings.Contains(key, "/")
}
