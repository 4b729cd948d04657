// Package pcapfile reads packets from capture files and writes them.
//
// [Open] makes a [capture.Source] of files, folders and standard input: pcap
// (both byte orders, micro- and nanoseconds, Kuznetzov's modified variant) and
// pcapng (any byte order, several sections, interfaces, link types and time
// resolutions), each also compressed with gzip or Zstandard. What an input is
// shows in its content; names don't matter.
//
// # Concurrency
//
// With one worker [Source.Run] reads, decodes and calls the handler on the goroutine
// that calls it. With more, each worker has a goroutine, and they take turns: input is
// read and decoded in rounds of [roundSize] octets by whichever worker has nothing else
// to do. In every round every worker gets one batch, empty or not, so that all clocks
// move together. A fixed number of rounds is in flight, and a round is used again when
// its last worker has returned: memory doesn't depend on the input, and nothing is
// allocated per packet. Options.Progress is called by whoever reads.
//
// # Memory
//
// Octets are read once into the round's buffer and packets are views into it.
// Files are read and not mapped: reading into buffers that stay in the
// processor's cache took less than half the time of faulting in a mapping's
// pages, and a mapped file that somebody truncates meanwhile kills the process.
//
// Lengths found in the input are believed only as far as octets follow: a
// record may be as long as [maxRecord], and a buffer grows by doubling while
// data really arrives.
//
// # Damage
//
// An input that is cut short or damaged is delivered up to the first record
// that can't be read, then reported as a [capture.DamageError], and reading
// goes on with the next input.
//
// [Writer] writes pcap and pcapng with nanoseconds, [Recorder] merges what live
// workers saw into one pcapng that replays to the same packets.
//
// Frame check sequences aren't looked for: where a capture has them at the end
// of frames, the IP length cuts them off.
package pcapfile
