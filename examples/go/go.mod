module dagger/release-job

go 1.25
