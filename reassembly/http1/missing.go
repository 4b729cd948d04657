package http1

import "offpath/reassembly"

// Missing says that the next n octets will not come. Call Read afterwards, with
// what follows or without input, for the events that this leads to.
func (p *Parser) Missing(r *Reader, b Budget, n int64) {
	switch p.state {
	case stateStart:
		p.state = stateLost
		r.Stats.LostSync++
		return
	case stateHead, stateLongLine:
		r.Stats.HeadsLost++
		r.Stats.LostSync++
		p.finishLast(r, b)
		p.state = stateLost
		return
	case stateLost:
		if p.sought() != nil {
			p.finishLast(r, b)
		}
		return
	case stateEnd:
		return
	}
	p.kept.capped = true
	if p.state == stateProbe {
		p.settle(r, b, p.remain == lengthChunked)
	}
	switch p.state {
	case stateLength:
		within := min(n, p.remain)
		p.over(within)
		if p.remain == 0 {
			p.state = stateEnd
			p.lostAfter = n > within
		}
	case stateToClose:
		p.bytes += n
		p.gap += n
	case stateChunkData:
		within := min(n, p.remain)
		p.over(within)
		if p.remain == 0 {
			p.state = stateChunkEnd
		}
		if n > within {
			p.gap += n - within
			p.breakOff(0) // how many chunks the gap holds is not known
		}
	default:
		p.gap += n
		p.breakOff(0)
	}
}

// MissingSome says that octets will not come, at most n: how many is not known. A
// body ends here, and what comes next is no message until one can be proven.
func (p *Parser) MissingSome(r *Reader, b Budget, n int64) {
	switch p.state {
	case stateLength:
		p.Missing(r, b, p.remain+1)
	case stateToClose, stateChunkData:
		p.kept.capped = true
		p.gap += n
		p.breakOff(0)
	default:
		p.Missing(r, b, n)
	}
}

// over counts n missing octets of the body.
func (p *Parser) over(n int64) {
	p.remain -= n
	p.bytes += n
	p.gap += n
}

// Finish says that the direction has ended: by a FIN if clean. A message at hand
// ends here; call Read without input for its End.
func (p *Parser) Finish(r *Reader, b Budget, clean bool) {
	switch p.state {
	case stateStart, stateLost, stateEnd:
	case stateHead, stateLongLine:
		r.Stats.HeadsLost++
		p.finishLast(r, b)
		p.state = stateLost
	case stateToClose:
		p.broken = !clean
		p.state = stateEnd
	case stateProbe:
		p.settle(r, b, false)
		if p.state != stateEnd {
			p.Finish(r, b, clean)
		}
	case stateChunkSize, stateTrailer:
		// What is missing behind the last chunk is nothing of the body.
		if clean && p.lastChunk() {
			p.anomalies |= reassembly.AnomalyInvalidChunk
			p.state = stateEnd
			return
		}
		p.breakOff(0)
	default:
		p.breakOff(0)
	}
}

// lastChunk reports whether the last chunk was read, its line's end aside.
func (p *Parser) lastChunk() bool {
	if p.state == stateTrailer {
		return true
	}
	if p.kept == nil {
		return false
	}
	size, _, ok := chunkSize(p.kept.rest)
	return ok && size == 0
}

// Close gives back what is kept; the parser is of no use afterwards.
func (p *Parser) Close(r *Reader, b Budget) {
	p.finishLast(r, b)
	p.state = stateLost
}
