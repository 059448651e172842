// NODE_PATH=…/node_modules node check_page.cjs PAGE CHROMIUM [FOLDER]
// Opens a page from disk in headless Chromium at several widths, light and dark, and prints a line of JSON for each:
// what is clipped, what the console said, what axe-core found. With a FOLDER a screenshot each, too.
const fs = require("fs"), os = require("os"), path = require("path"), puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const clipped = () => {  // runs in the page
  for (const one of document.querySelectorAll("details")) one.open = true;
  const width = document.documentElement.clientWidth, bad = [];
  if (document.documentElement.scrollWidth > width) bad.push(`page: ${document.documentElement.scrollWidth} > ${width}`);
  const kinds = "th,td,li,p,summary,figcaption,h1,h2,h3,a,.label,.verdict,pre,input,svg.plot text";
  for (const one of document.querySelectorAll(kinds)) {
    const box = one.getBoundingClientRect(), said = one.textContent.slice(0, 60);
    if (box.width && (box.right > width + 1 || box.left < -1)) bad.push(`${one.tagName} ends at ${box.right}: ${said}`);
    else if (one.clientWidth && one.scrollWidth > one.clientWidth + 1 && one.tagName !== "INPUT" && one instanceof HTMLElement
      && getComputedStyle(one).display !== "inline") bad.push(`${one.tagName} holds ${one.scrollWidth}: ${said}`);
  }
  return bad.slice(0, 9);
};

const violations = async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.map(one => ({id: one.id, impact: one.impact, at: one.nodes[0].html.slice(0, 200)}));
};

(async () => {
  const [file, chromium, folder] = process.argv.slice(2);
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "page-"));
  const browser = await puppeteer.launch({
    executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"], userDataDir: profile, protocolTimeout: 600000,
  });
  for (const scheme of ["light", "dark"]) {
    for (const width of [360, 768, 1280, 1920, 2560]) {
      const page = await browser.newPage(), said = [];
      page.on("console", message => said.push(message.text()));
      page.on("pageerror", error => said.push(error.message));
      page.on("dialog", dialog => { said.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
      page.on("request", asked => { if (!/^(file|data):/.test(asked.url())) said.push(`asked ${asked.url()}`); });
      await page.emulateMediaFeatures([{name: "prefers-color-scheme", value: scheme}]);
      await page.setViewport({width, height: 900});
      await page.goto(`file://${path.resolve(file)}`);
      const bad = await page.evaluate(clipped);
      await page.evaluate(axe);
      const found = await page.evaluate(violations);
      if (folder) await page.screenshot({path: path.join(folder, `${scheme}-${width}.png`), fullPage: true});
      console.log(JSON.stringify({scheme, width, clipped: bad, said, violations: found}));
      await page.close();
    }
  }
  await browser.close();
  fs.rmSync(profile, {recursive: true, force: true});
})();
