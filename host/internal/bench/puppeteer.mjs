// puppeteer-cluster as its README has it: a browser context for each job. It is
// told a round's length in milliseconds a line, and answers with a line of JSON.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const [directory, executablePath, callers, url] = process.argv.slice(1)
const require = createRequire(directory + '/script.js')
const { Cluster } = require('puppeteer-cluster')

const cluster = await Cluster.launch({
  concurrency: Cluster.CONCURRENCY_CONTEXT,
  maxConcurrency: Number(callers),
  puppeteer: require('puppeteer-core'),
  puppeteerOptions: {
    executablePath,
    headless: 'shell',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  },
})

await cluster.task(async ({ page, data: job }) => {
  await page.goto(`${url}/?job=${job}`, { waitUntil: 'load' })
  const title = await page.title()
  if (title !== `Job ${job}`) throw new Error(`got the page ${title}, want Job ${job}`)
  const picture = Buffer.from(await page.screenshot({ type: 'png' }))
  if (picture.toString('latin1', 1, 4) !== 'PNG') throw new Error('no PNG')
  const size = `${picture.readUInt32BE(16)} x ${picture.readUInt32BE(20)}`
  if (size !== '800 x 600') throw new Error(`got a picture of ${size}`)
})

// A browser that is killed leaves promises behind that nobody waits for; they would end Node.
process.on('unhandledRejection', () => {})

let job = 0
async function round(length) {
  const begun = performance.now()
  const result = { samples_ms: [], failed: 0, reason: '' }
  async function caller() {
    do {
      const start = performance.now()
      try {
        await cluster.execute(++job)
        result.samples_ms.push(performance.now() - start)
      } catch (error) {
        result.failed++
        result.reason ||= String(error.message)
      }
    } while (performance.now() - begun < length)
  }
  await Promise.all(Array.from({ length: Number(callers) }, caller))
  result.took_ms = performance.now() - begun
  return result
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await round(Number(line))))
}
await cluster.close()
