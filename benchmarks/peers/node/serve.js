// Starts a server in WORKERS processes on PORT. One worker is the process itself.
import cluster from 'node:cluster'
import process from 'node:process'

const HOST = '127.0.0.1'

/** Call listen(host, port), which resolves once the server accepts connections. */
export async function serve (listen) {
  const count = Number(process.env.WORKERS || 1)
  if (count > 1 && cluster.isPrimary) {
    for (let n = 0; n < count; n++) cluster.fork()
    for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
    cluster.on('exit', () => process.exit(1))
    return
  }
  try {
    await listen(HOST, Number(process.env.PORT))
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
}
