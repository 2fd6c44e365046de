package main

import (
	"fmt"
	"log"
	"os"

	"github.com/cilium/ebpf"
)

// load OBJECT loads all of it; open PIN says of which type a pinned program is.
func main() {
	log.SetFlags(0)
	switch os.Args[1] {
	case "load":
		spec, err := ebpf.LoadCollectionSpec(os.Args[2])
		if err != nil {
			log.Fatal("cannot load: ", err)
		}
		collection, err := ebpf.NewCollection(spec)
		if err != nil {
			log.Fatal("cannot load: ", err)
		}
		collection.Close()
	case "open":
		program, err := ebpf.LoadPinnedProgram(os.Args[2], nil)
		if err != nil {
			log.Fatal("cannot open: ", err)
		}
		fmt.Println(program.Type())
	}
}
