// Package life tells the lives of a load balancer apart that returns to an older
// configuration when it starts anew: each change writes a number there, of its own.
//
// A Life may be used concurrently.
package life

import (
	"crypto/rand"
	"slices"
	"sync"
)

// Life tells whether the load balancer has what was last written there: a change that it
// does not have the number of, or an older number than the last, is another life.
type Life struct {
	mu sync.Mutex
	// possible are the numbers that may be there: the last that was written, and those of the
	// latest changes of which it is not known what became of them. nil: it was not asked yet.
	possible []string
	writes   int    // begun and ended
	name     string // of this life
}

// maxPossible is how many changes in turn may fail before the oldest of them is forgotten. If
// that one was made after all, a life ends that need not have, and all is compared.
const maxPossible = 64

// Next is the number of a change that begins now.
func (l *Life) Next() string {
	number := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if l.possible != nil {
		l.possible = append(l.possible, number)
		l.possible = l.possible[max(0, len(l.possible)-maxPossible):]
	}
	return number
}

// Ended says what became of a change.
func (l *Life) Ended(number string, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if done && l.possible != nil {
		l.possible = []string{number}
	}
}

// Seen names the life in which a number was read, when as many writes had been; while others
// begin or end, it says nothing.
func (l *Life) Seen(number string, writes int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name == "" || writes == l.writes && !slices.Contains(l.possible, number) {
		l.name, l.possible = "life "+number+" "+rand.Text()[:6], []string{number}
	}
	return l.name
}

// Writes counts the changes that began and those that ended.
func (l *Life) Writes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes
}
