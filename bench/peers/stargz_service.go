// stargz-snapshotter's snapshotter as a service on a unix socket. Its own program is in a module that
// the module proxy does not list; the snapshotter itself is a library, and this is what is around it.
//
//	stargz-service ROOT SOCKET
//
// Without its background fetch, like the node that bench/cold-start measures: a start's bytes are its own.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"google.golang.org/grpc"
)

func run(root, socket string) error {
	var config service.Config
	config.NoBackgroundFetch = true
	snapshotter, err := service.NewStargzSnapshotterService(context.Background(), root, &config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	return snapshotter.Close()
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: stargz-service ROOT SOCKET")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
