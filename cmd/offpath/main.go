// Offpath watches a mirror port, finds automated attacks in the HTTP traffic
// there and has load balancers refuse them. `offpath help` lists its commands.
package main

import (
	"os"

	"offpath/cmd/offpath/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
