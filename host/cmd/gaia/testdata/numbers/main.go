// Command numbers writes the numbers from 0 on, one a line, and ends with an exit
// code: numbers COUNT PAUSE CODE.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	count, _ := strconv.Atoi(os.Args[1])
	pause, _ := time.ParseDuration(os.Args[2])
	code, _ := strconv.Atoi(os.Args[3])
	for n := range count {
		fmt.Println(n)
		time.Sleep(pause)
	}
	os.Exit(code)
}
